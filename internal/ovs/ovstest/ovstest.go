// Package ovstest owns what tests need to run a real Open vSwitch: it finds the
// programs and starts one with directories of its own.
package ovstest

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/link"
	"github.com/dockstack/dockstack/internal/ovs"
)

// Environment variables that tests read.
const (
	// RootEnv is a directory under which Open vSwitch is installed.
	RootEnv = "DOCKSTACK_OVS_ROOT"
	// DatapathEnv chooses the datapath to test: kernel or userspace.
	DatapathEnv = "DOCKSTACK_TEST_DATAPATH"
	// SlowEnv is how many times slower than a real machine this one is.
	SlowEnv = "DOCKSTACK_TEST_SLOW"
)

// emulated is how much slower software emulation is, in which the kernel
// datapath is tested unless SlowEnv says otherwise.
const emulated = 6

// Scale makes of a time on a real machine one for this.
func Scale(d time.Duration) time.Duration {
	if n, err := strconv.Atoi(os.Getenv(SlowEnv)); err == nil && n > 0 {
		return time.Duration(n) * d
	}
	if Datapath() == ovs.DatapathKernel {
		return emulated * d
	}
	return d
}

// minMajor, minMinor: older ones forward 5 to 7 times slower in userspace.
const minMajor, minMinor = 3, 5

// Root finds Open vSwitch: where the environment says, in the plugin that
// `make plugin` built, or on this machine.
func Root(tb testing.TB) string {
	tb.Helper()
	if root := os.Getenv(RootEnv); root != "" {
		return root
	}
	if _, file, _, ok := runtime.Caller(0); ok {
		root := filepath.Join(filepath.Dir(file), "../../../build/plugin/rootfs")
		if _, err := os.Stat(filepath.Join(root, "usr/bin/ovs-vsctl")); err == nil {
			return root
		}
	}
	if err := installed(tb); err != nil {
		tb.Fatalf("%v: run `make plugin`, or set %s to where Open vSwitch %d.%d or newer is", err, RootEnv, minMajor, minMinor)
	}
	return "/"
}

func installed(tb testing.TB) error {
	tb.Helper()
	out, err := exec.CommandContext(tb.Context(), "ovs-vsctl", "--version").Output()
	if err != nil {
		return fmt.Errorf("no Open vSwitch on this machine: %w", err)
	}
	m := regexp.MustCompile(`(\d+)\.(\d+)`).FindStringSubmatch(string(out))
	if m == nil {
		return fmt.Errorf("ovs-vsctl doesn't tell its version: %s", strings.TrimSpace(string(out)))
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	if major < minMajor || major == minMajor && minor < minMinor {
		return fmt.Errorf("this machine's Open vSwitch is %s", m[0])
	}
	return nil
}

// Datapath is the one to test, userspace by default.
func Datapath() string {
	if d := os.Getenv(DatapathEnv); d != "" {
		return d
	}
	return ovs.DatapathUserspace
}

// Config is that of an Open vSwitch of the test's own, in the network namespace
// of the process.
func Config(tb testing.TB) ovs.Config {
	tb.Helper()
	// Not TempDir: a socket's path has 107 bytes at most.
	dir, err := os.MkdirTemp("", "dsovs") //nolint:usetesting // for the reason above
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return ovs.Config{
		Origin: ovs.OriginOwn, Datapath: Datapath(), Root: Root(tb), RunDir: dir,
		HostSocket: filepath.Join(dir, "no-host.sock"),
	}
}

// Probe asks the real kernel.
func Probe(links *link.Manager) ovs.Probe {
	return ovs.Probe{KernelDatapath: link.KernelDatapath, KernelDatapathInUse: links.KernelDatapathInUse}
}

// Log writes to the test's log while the test runs.
func Log(tb testing.TB) *slog.Logger {
	tb.Helper()
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}
