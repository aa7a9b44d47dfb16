package doctor

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const procDir = "/proc"

// holders are the processes that hold a lock on a file. Nothing is locked to
// find out: the daemon might be just opening it.
func holders(path string) ([]process, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("%s has no inode", path)
	}
	f, err := os.Open(filepath.Join(procDir, "locks"))
	if err != nil {
		return nil, fmt.Errorf("list locks: %w", err)
	}
	defer func() { _ = f.Close() }()
	var out []process
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if pid, ok := parseLock(lines.Text(), st.Ino); ok {
			out = append(out, look(pid))
		}
	}
	return out, lines.Err()
}

// parseLock reads a line such as
//
//	1: FLOCK  ADVISORY  WRITE 1234 fd:01:12345 0 EOF
//
// The device's numbers there and of the file itself differ on some file systems,
// so the inode has to do.
func parseLock(line string, inode uint64) (pid int, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[1] == "->" {
		return 0, false
	}
	place := strings.Split(fields[5], ":")
	n, err := strconv.ParseUint(place[len(place)-1], 10, 64)
	if err != nil || len(place) != 3 || n != inode {
		return 0, false
	}
	pid, err = strconv.Atoi(fields[4])
	return pid, err == nil && pid > 0
}

// running are the processes of a name.
func running(name string) ([]process, error) {
	entries, err := os.ReadDir(procDir)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p := look(pid); p.name == name {
			out = append(out, p)
		}
	}
	return out, nil
}

// look reads what a process is; it may be gone.
func look(pid int) process {
	dir := filepath.Join(procDir, strconv.Itoa(pid))
	name, _ := os.ReadFile(filepath.Join(dir, "comm"))
	command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	return process{pid: pid, name: strings.TrimSpace(string(name)), command: strings.ReplaceAll(string(command), "\x00", " ")}
}
