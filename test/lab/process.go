package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// processes lists the pids, as this process sees them, of the host's processes whose program file has that name.
// The host's cgroup tells them apart from the machine's and from other hosts'.
func (h *Host) processes(program string) []int {
	var found []int
	for _, pid := range pidsInCgroup(h.cgroupName()) {
		if programName(pid) == program {
			found = append(found, pid)
		}
	}
	return found
}

// Kill9 kills every process of the host whose program file has that name, those in containers and plugins included, and
// waits until they have ended.
func (h *Host) Kill9(ctx context.Context, program string) error {
	pids := h.processes(program)
	if len(pids) == 0 {
		return fmt.Errorf("no %s runs on %s", program, h.Name)
	}
	for _, pid := range pids {
		if err := signalAndWait(ctx, pid, unix.SIGKILL); err != nil {
			return fmt.Errorf("kill %s on %s: %w", program, h.Name, err)
		}
	}
	return nil
}

// pidsInCgroup lists the processes in the named cgroup and below it.
func pidsInCgroup(name string) []int {
	var found []int
	for _, pid := range allPids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			continue // it has ended
		}
		text := string(b)
		if strings.Contains(text, "/"+name+"\n") || strings.Contains(text, "/"+name+"/") {
			found = append(found, pid)
		}
	}
	return found
}

// allPids lists the machine's processes.
func allPids() []int {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var all []int
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// programName is the base name of argument 0; empty for a process that has ended.
func programName(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	arg0, _, _ := strings.Cut(string(b), "\x00")
	return filepath.Base(arg0)
}
