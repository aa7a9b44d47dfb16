package datapath

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Several hosts in one test are network namespaces with a switch each. Only
// ovs-vswitchd has to be in there: it is started through the test's own program,
// which goes there first.

// enterName is the program that is started so.
const enterName = "ovs-vswitchd"

// enterFile says, beside the link to the test's program, where to go and what to
// run there.
const enterFile = "enter.json"

type entrance struct {
	NetNS string
	Argv  []string
}

// enter becomes the program; it returns only when that fails.
func enter() error {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(os.Args[0]), enterFile))
	if err != nil {
		return err
	}
	var e entrance
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	ns, err := os.Open(e.NetNS)
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the thread that goes is the one that stays
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("go to %s: %w", e.NetNS, err)
	}
	return unix.Exec(e.Argv[0], append(e.Argv, os.Args[1:]...), os.Environ())
}

// ovsRoot is a directory with Open vSwitch's programs as they lie under root,
// but ovs-vswitchd begins in the box.
func (b *box) ovsRoot(root string) string {
	b.tb.Helper()
	dir := b.tb.TempDir()
	bin := filepath.Join(dir, "usr", "bin")
	must := func(err error) {
		if err != nil {
			b.tb.Fatal(err)
		}
	}
	must(os.MkdirAll(bin, 0o755))
	must(os.MkdirAll(filepath.Join(dir, "usr", "share"), 0o755))
	must(os.Symlink(filepath.Join(root, "usr/share/openvswitch"), filepath.Join(dir, "usr/share/openvswitch")))
	for _, name := range []string{"ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "ovs-appctl"} {
		script := "#!/bin/sh\nexec " + strings.Join(ovsArgv(root, name), " ") + " \"$@\"\n"
		must(os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755))
	}
	self, err := os.Executable()
	must(err)
	must(os.Symlink(self, filepath.Join(bin, enterName)))
	text, err := json.Marshal(entrance{
		NetNS: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(b.ns)), Argv: ovsArgv(root, enterName),
	})
	must(err)
	must(os.WriteFile(filepath.Join(bin, enterFile), text, 0o600))
	return dir
}

// ovsArgv is how a program under root is run: with the loader and the libraries
// beside it.
func ovsArgv(root, name string) []string {
	first := func(patterns ...string) string {
		for _, p := range patterns {
			if found, _ := filepath.Glob(filepath.Join(root, p)); len(found) > 0 {
				return found[0]
			}
		}
		return ""
	}
	program := first("usr/sbin/"+name, "usr/bin/"+name, "usr/lib/openvswitch-switch/"+name)
	libs := first("usr/lib/*-linux-gnu", "lib/*-linux-gnu")
	loader := first("usr/lib/*-linux-gnu/ld-linux*.so.*", "lib64/ld-linux*.so.*", "lib/ld-linux*.so.*")
	if root == "/" || libs == "" || loader == "" {
		return []string{program}
	}
	return []string{loader, "--library-path", libs, program}
}
