package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/test/lab"
)

// store is the file with the host's leases.
func (h *host) store() string {
	return filepath.Join(h.Dir, "varlib", "dockstack", "dockstack.db")
}

// away does something while the plugin is off.
func (h *host) away(do func()) {
	h.t.Helper()
	h.docker("plugin", "disable", "-f", pluginName)
	do()
	h.docker("plugin", "enable", pluginName)
}

// TestUnusableStore: the plugin stays up and says what is wrong with which
// file, touches nothing, and goes on when the file is back.
func TestUnusableStore(t *testing.T) {
	h := newHost(t)
	h.networks()
	h.serve("web", "internal")
	h.serve("client", "internal")
	h.serve("late", "internal")
	before := h.picture("internal")
	for _, c := range []struct {
		what  string
		spoil func(path string)
		words []string
	}{
		{"a record with one wrong bit", h.flip, []string{"damaged"}},
		{"damaged headers", h.behead, []string{"damaged"}},
		{"not a store at all", func(path string) { h.check(os.WriteFile(path, []byte("hello\n"), 0o600)) }, []string{"damaged"}},
		{"of a newer version", h.newer, []string{"newer"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := h.in(t)
			var good, bad []byte
			h.away(func() {
				good = h.read(h.store())
				c.spoil(h.store())
				bad = h.read(h.store())
			})
			words := append([]string{"/var/lib/dockstack/dockstack.db"}, c.words...)
			h.refused(ofOurs("--subnet", "172.30.0.0/24", "net"), words...)
			h.refused([]string{"restart", "-t", "1", "late"}, words...)
			h.meets("client", "web", h.ipv4("web", "internal"))
			if now := h.read(h.store()); !bytes.Equal(now, bad) {
				t.Errorf("the store was touched: %d bytes before, %d now, or others", len(bad), len(now))
			}
			h.away(func() { h.check(os.WriteFile(h.store(), good, 0o600)) })
			h.docker("restart", "-t", "1", "client", "web", "late")
			for _, c := range before.Changed(h.picture("internal")) {
				t.Error(c)
			}
			h.meets("client", "web", h.ipv4("web", "internal"))
		})
	}
}

func (h *host) read(path string) []byte {
	h.t.Helper()
	b, err := os.ReadFile(path)
	h.check(err)
	return b
}

// flip changes a bit of a lease, wherever a page has a copy of it.
func (h *host) flip(path string) {
	h.t.Helper()
	was, is := []byte("lease/172.16.0.0/16/web"), []byte("lease/172.16.0.0/16/wec")
	b := h.read(path)
	if !bytes.Contains(b, was) {
		h.t.Fatalf("%s has no lease of web", path)
	}
	h.check(os.WriteFile(path, bytes.ReplaceAll(b, was, is), 0o600))
}

// behead spoils the start of a file.
func (h *host) behead(path string) {
	h.t.Helper()
	b := h.read(path)
	for i := range 16384 {
		b[i] ^= 0x55
	}
	h.check(os.WriteFile(path, b, 0o600))
}

// newer gives a store a record of a version that does not exist yet.
func (h *host) newer(path string) {
	h.t.Helper()
	s, err := boltkv.Open(path)
	h.check(err)
	h.check(s.Commit(h.ctx(), []kv.Op{{Key: "lease/172.16.0.0/16/future", Value: []byte{200, 0, 0}}}))
	h.check(s.Close())
}

// disk mounts a small file system for one test's state to be on.
func (h *host) disk(size string) (dir string) {
	h.t.Helper()
	dir = "/var/lib/small-disk"
	h.onHost("mkdir", "-p", dir)
	h.onHost("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir)
	h.t.Cleanup(func() {
		h.away(func() {
			h.docker("plugin", "set", pluginName, "state.source=/var/lib")
			// What was removed meanwhile is removed for good.
			h.onHost("cp", dir+"/dockstack/dockstack.db", "/var/lib/dockstack/")
			h.onHost("umount", dir)
		})
	})
	return dir
}

// TestReadOnlyStore: it is said, and mended without a restart.
func TestReadOnlyStore(t *testing.T) {
	h := newHost(t)
	h.networks()
	h.run("web", "internal")
	before := h.picture("internal")
	dir := h.disk("64m")
	h.away(func() {
		h.onHost("cp", "-a", "/var/lib/dockstack", dir)
		h.onHost("mount", "-o", "remount,ro", dir)
		h.docker("plugin", "set", pluginName, "state.source="+dir)
	})
	h.refused([]string{"restart", "-t", "1", "web"}, "dockstack/dockstack.db", "read-only file system")
	h.refused(ofOurs("--subnet", "172.30.0.0/24", "net"), "dockstack/dockstack.db", "read-only file system")
	h.onHost("mount", "-o", "remount,rw", dir)
	h.eventually(20*time.Second, func() string {
		if _, err := h.try("start", "web"); err != nil {
			return err.Error()
		}
		return ""
	})
	for _, c := range before.Changed(h.picture("internal")) {
		t.Error(c)
	}
	h.clean()
}

// TestFullDisk: neither a store that can't be made nor one that can't grow
// ends the plugin or loses an address, and room is all that it needs.
func TestFullDisk(t *testing.T) {
	h := newHost(t)
	dir := h.disk("8k")
	h.away(func() { h.docker("plugin", "set", pluginName, "state.source="+dir) })
	h.refused(ofOurs("--subnet", "172.30.0.0/16", "net"), "dockstack.db", "no space left")
	h.onHost("mount", "-o", "remount,size=1m", dir)
	h.eventually(20*time.Second, func() string {
		if _, err := h.try(ofOurs("--subnet", "172.30.0.0/16", "net")...); err != nil {
			return err.Error()
		}
		return ""
	})
	h.run("first", "net")
	before := h.picture("net")
	_, err := h.Exec(h.ctx(), "dd", "if=/dev/zero", "of="+dir+"/filler", "bs=4k")
	if err == nil {
		t.Fatal("the disk is not full")
	}
	// Names of 1,000 bytes, so that there are not many to start.
	h.fills("net", "no space left")
	h.onHost("rm", dir+"/filler")
	h.eventually(20*time.Second, func() string {
		if _, err := h.try("run", "-d", "--name", "after", "--network", "net", standin); err != nil {
			_, _ = h.try("rm", "-f", "after")
			return err.Error()
		}
		return ""
	})
	h.docker("restart", "-t", "1", "first")
	now := h.picture("net")
	for _, c := range before.Changed(now) {
		t.Error(c)
	}
	distinct(t, now)
	h.clean()
}

// fills starts containers with long names until one is refused.
func (h *host) fills(network, why string) {
	h.t.Helper()
	for i := range 40 {
		name := string(bytes.Repeat([]byte{byte('a' + i%26)}, 1000+i))
		if _, err := h.try("run", "-d", "--name", name, "--network", network, standin); err != nil {
			h.refused([]string{"start", name}, why, "dockstack.db")
			return
		}
	}
	h.t.Error("40 containers with long names found room in a full store")
}

// TestNoOpenVSwitch: a plugin without a switch stays up and says so.
func TestNoOpenVSwitch(t *testing.T) {
	h := newHost(t)
	root, err := lab.Root()
	h.check(err)
	dir := filepath.Join(t.TempDir(), "plugin")
	if out, err := exec.Command("cp", "-a", filepath.Join(root, "build", "plugin"), dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the plugin: %v: %s", err, out)
	}
	switches, err := filepath.Glob(filepath.Join(dir, "rootfs", "usr", "*bin", "ovs*"))
	if err != nil || len(switches) == 0 {
		t.Fatalf("no Open vSwitch in the plugin to take away: %v", err)
	}
	for _, s := range switches {
		h.check(os.Remove(s))
	}
	const bare = "dockstack-bare"
	h.docker("plugin", "create", bare, dir)
	t.Cleanup(func() { h.docker("plugin", "rm", "-f", bare) })
	h.away(func() {
		h.docker("plugin", "enable", bare)
		h.refused(ofOurs("--subnet", "172.30.0.0/24", "net"), "the switch is away", "no Open vSwitch: start the host's")
		h.docker("plugin", "disable", "-f", bare)
	})
	h.create("net", "--subnet", "172.30.0.0/24")
	h.run("web", "net")
	h.reachable(h.picture("net"))
}
