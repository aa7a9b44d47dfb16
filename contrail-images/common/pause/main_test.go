package main

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const heading = "Inter-|   Receive                |  Transmit\n face |bytes    packets |bytes    packets\n"

func TestConnected(t *testing.T) {
	for name, test := range map[string]struct {
		table string
		want  bool
	}{
		"none":    {heading, false},
		"lo":      {heading + "    lo:    1296      16    1296      16\n", false},
		"eth0":    {heading + "    lo:    1296      16    1296      16\n  eth0:       0       0       0       0\n", true},
		"crowded": {heading + "eth0:1296      16    1296      16\n", true},
		"lo0":     {heading + "   lo0:       0       0       0       0\n", true},
	} {
		if got := connected(test.table); got != test.want {
			t.Errorf("%s: connected is %v", name, got)
		}
	}
}

// TestMain lets a test's child process be the command.
func TestMain(m *testing.M) {
	if os.Getenv("BE_PAUSE") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), "BE_PAUSE=1")
	return cmd
}

// eventually fails the test if that does not become true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

func children(t *testing.T, pid int) string {
	t.Helper()
	self := strconv.Itoa(pid)
	list, err := os.ReadFile("/proc/" + self + "/task/" + self + "/children")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(list))
}

func TestEndsWithZero(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		// Once it has reaped the child that the shell leaves it, it listens to signals.
		cmd := command(t)
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `sleep 0.1 & exec "$0"`, os.Args[0]}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		name := "/proc/" + strconv.Itoa(cmd.Process.Pid) + "/comm"
		eventually(t, "reaped what the shell left", func() bool {
			comm, err := os.ReadFile(name)
			return err == nil && !strings.HasPrefix(string(comm), "sh") && children(t, cmd.Process.Pid) == ""
		})
		for range 100 { // children that end are no reason to
			if err := cmd.Process.Signal(syscall.SIGCHLD); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
	}
}

func TestHealthy(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test makes a network namespace: run it as root")
	}
	alone := command(t, "healthy")
	alone.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if out, err := alone.CombinedOutput(); err == nil || !strings.Contains(string(out), "beside lo") {
		t.Errorf("with lo alone: %v\n%s", err, out)
	}
	connected := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-ec", `ip link add test0 type veth; exec "$0" healthy`, os.Args[0])
	connected.Env = append(os.Environ(), "BE_PAUSE=1")
	if out, err := connected.CombinedOutput(); err != nil {
		t.Errorf("with an interface: %v\n%s", err, out)
	}
	if out, err := command(t, "sick").CombinedOutput(); err == nil || !strings.Contains(string(out), "usage") {
		t.Errorf("an unknown word: %v\n%s", err, out)
	}
}

// Orphans of whatever shares the group's PID namespace are left to process 1, and would stay as zombies.
func TestReaps(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test makes a PID namespace: run it as root")
	}
	cmd := command(t)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	// The shell ends at once and leaves its children to process 1.
	for range 5 {
		if out, err := exec.CommandContext(t.Context(), "nsenter", "-t", pid, "-p", "sh", "-c",
			"sleep 1000 >/dev/null 2>&1 & sleep 1000 >/dev/null 2>&1 &").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	eventually(t, "ten orphans", func() bool { return len(strings.Fields(children(t, cmd.Process.Pid))) == 10 })
	for orphan := range strings.FieldsSeq(children(t, cmd.Process.Pid)) {
		n, err := strconv.Atoi(orphan)
		if err == nil {
			err = syscall.Kill(n, syscall.SIGKILL)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "no zombies", func() bool { return children(t, cmd.Process.Pid) == "" })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("process 1 at SIGTERM: %v", err)
	}
}
