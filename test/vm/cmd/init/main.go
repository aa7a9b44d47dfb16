// Command init is the first process of the test machine: it mounts what a Linux
// system has, loads modules, runs the steps of its job and says how they went.
//
// It runs twice: as the first process, which only collects the dead, and as its
// child, which does the work.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/test/vm"
)

const worker = "worker"

func main() {
	if len(os.Args) == 2 && os.Args[1] == worker {
		work()
		return
	}
	if err := supervise(); err != nil {
		fmt.Printf("\n%v\n%sfail\n", err, vm.MarkDone)
	}
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // with -no-reboot that is the end
	fmt.Println("reboot:", err)
}

func supervise() error {
	if err := mounts(); err != nil {
		return err
	}
	cmd := exec.CommandContext(context.Background(), "/init", worker)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	collect(cmd.Process.Pid)
	return nil
}

// collect waits for every process that lost its parent, until pid ends.
func collect(pid int) {
	for {
		got, err := unix.Wait4(-1, nil, 0, nil)
		if got == pid || errors.Is(err, unix.ECHILD) {
			return
		}
	}
}

func work() {
	var job vm.Job
	err := prepare(&job)
	if err == nil {
		err = steps(job)
	}
	again := err == nil && job.Again && first()
	if err := leave(job); err != nil {
		fmt.Println("unmount:", err)
		again = false
	}
	switch {
	case again:
		fmt.Printf("\n%s\n", vm.MarkReboot)
	case err != nil:
		fmt.Printf("\n%v\n%sfail\n", err, vm.MarkDone)
	default:
		fmt.Printf("\n%spass\n", vm.MarkDone)
	}
}

// first is whether the machine has not been rebooted yet: the disk remembers.
func first() bool {
	mark := filepath.Join(vm.DiskDir, "rebooted")
	if _, err := os.Stat(mark); err == nil {
		return false
	}
	return os.WriteFile(mark, nil, 0o600) == nil
}

func leave(job vm.Job) error {
	if !job.Disk {
		return nil
	}
	return unix.Unmount(vm.DiskDir, 0)
}

func mounts() error {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"devtmpfs", "/dev"},
		{"devpts", "/dev/pts"},
		{"tmpfs", "/dev/shm"},
		{"tmpfs", "/run"},
		{"tmpfs", "/tmp"},
		{"cgroup2", "/sys/fs/cgroup"},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	return nil
}

func prepare(job *vm.Job) error {
	b, err := os.ReadFile(vm.JobFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, job); err != nil {
		return err
	}
	for _, name := range job.Modules {
		if err := load(name); err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	// The steps are looked for where they themselves would look.
	for _, e := range job.Env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return err
			}
		}
	}
	if err := loopback(); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	if !job.Disk {
		return nil
	}
	return mountDisk()
}

// loopback sets the loopback interface up.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

func load(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// mountDisk waits for the disk: the driver finds it a moment after it loaded.
func mountDisk() error {
	if err := os.MkdirAll(vm.DiskDir, 0o755); err != nil {
		return err
	}
	var err error
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(20 * time.Millisecond) {
		late := time.Now().After(deadline) // asked before: the last try is after the deadline
		if err = unix.Mount("/dev/vda", vm.DiskDir, "ext4", 0, ""); late || !errors.Is(err, unix.ENOENT) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	return nil
}

func steps(job vm.Job) error {
	var failed []string
	for _, s := range job.Steps {
		started := time.Now()
		verdict := "pass"
		if err := step(job, s); err != nil {
			verdict = "fail: " + err.Error()
			failed = append(failed, s.Name)
		}
		fmt.Printf("\n%s%s %s (%.1f s)\n", vm.MarkStep, s.Name, verdict, time.Since(started).Seconds())
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

func step(job vm.Job, s vm.Step) error {
	ctx, stop := context.WithTimeout(context.Background(), time.Duration(s.Seconds)*time.Second)
	defer stop()
	cmd := exec.CommandContext(ctx, s.Argv[0], s.Argv[1:]...)
	cmd.Dir, cmd.Env = s.Dir, job.Env
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("not done within %d s", s.Seconds)
	}
	return err
}
