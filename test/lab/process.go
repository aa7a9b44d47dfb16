package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// pidsInCgroup lists the processes in the named cgroup and below it.
func pidsInCgroup(name string) []int {
	entries, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil
	}
	var found []int
	for _, path := range entries {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		text := string(b)
		if !strings.Contains(text, "/"+name+"\n") && !strings.Contains(text, "/"+name+"/") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			found = append(found, pid)
		}
	}
	return found
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
