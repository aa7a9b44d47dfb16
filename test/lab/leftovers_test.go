package lab_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/test/lab"
)

// footprint is what a lab occupies on the machine, as far as the machine can tell.
type footprint struct {
	processes  []int
	namespaces []string // "net:[4026532184]" and so on
}

// footprintOf collects the lab's processes by their cgroups and titles, and their namespaces apart from the machine's.
func footprintOf(t *testing.T, id string) footprint {
	t.Helper()
	own := map[string]bool{}
	for _, ns := range namespacesOf(os.Getpid()) {
		own[ns] = true
	}
	var f footprint
	for _, pid := range allPids(t) {
		cgroup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		title, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if !strings.Contains(string(cgroup), "dslab-"+id+"-") && !strings.HasPrefix(string(title), "dslab-"+id+"-") {
			continue
		}
		f.processes = append(f.processes, pid)
		for _, ns := range namespacesOf(pid) {
			if !own[ns] && !slices.Contains(f.namespaces, ns) && pin(t, pid, ns) {
				f.namespaces = append(f.namespaces, ns)
			}
		}
	}
	return f
}

// pin keeps the namespace's number from being given to another one, which a test beside this may make meanwhile.
// What is asked later is whether any process or mount still holds it; our descriptor is neither.
func pin(t *testing.T, pid int, ns string) bool {
	t.Helper()
	kind, _, _ := strings.Cut(ns, ":")
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		return false // the process has ended
	}
	t.Cleanup(func() { _ = f.Close() })
	return true
}

func allPids(t *testing.T) []int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	var pids []int
	for _, d := range dirs {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(d), "%d", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func namespacesOf(pid int) []string {
	var all []string
	for _, kind := range []string{"net", "mnt", "pid", "uts", "ipc", "cgroup"} {
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind)); err == nil {
			all = append(all, ns)
		}
	}
	return all
}

// checkNothingLeft fails the test for everything of the lab that is still there.
func checkNothingLeft(t *testing.T, id, dir string, before footprint) {
	t.Helper()
	if left := footprintOf(t, id); len(left.processes) > 0 {
		t.Errorf("processes left: %v", left.processes)
	}
	for _, pid := range allPids(t) {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if strings.Contains(string(status), "State:\tZ") {
			continue // dead; the machine's init has not taken note of it yet
		}
		for _, ns := range namespacesOf(pid) {
			if slices.Contains(before.namespaces, ns) {
				t.Errorf("namespace %s is still held by process %d", ns, pid)
			}
		}
	}
	// A namespace can also be kept by a mount of its file.
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(mounts)) {
		for _, ns := range before.namespaces {
			if strings.Contains(line, " "+ns+" ") {
				t.Errorf("namespace kept by a mount: %s", line)
			}
		}
		if strings.Contains(line, "dslab") || strings.Contains(line, dir) || strings.Contains(line, "/run/dockstack-lab/"+id) {
			t.Errorf("mount left: %s", line)
		}
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(d.Name(), "dslab-"+id+"-") {
			t.Errorf("cgroup left: %s", path)
		}
		return nil
	})
	must(t, err)
	for _, path := range []string{dir, "/run/dockstack-lab/" + id, "/run/dockstack-lab/" + id + ".lock", "/run/dockstack-lab/" + id + ".json"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("left: %s", path)
		}
	}
}

func links(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ip", "-o", "-br", "link").Output()
	must(t, err)
	return string(out)
}

// busy gives a host what is hardest to remove: containers, a network, and a process that ignores SIGTERM.
func busy(t *testing.T, h *lab.Host) {
	t.Helper()
	docker(t, h, "network", "create", "n")
	web(t, h, "web", "--network", "n", "--restart", "always", "-p", "80:80")
	_, err := h.Exec(t.Context(), "setsid", "-f", "sh", "-c", "exec >/dev/null 2>&1; trap '' TERM; while :; do sleep 1; done")
	must(t, err)
}

func TestStopLeavesNothing(t *testing.T) {
	before := links(t)
	l, err := lab.Start(t.Context(), lab.Options{Hosts: 2, Etcd: 3})
	must(t, err)
	busy(t, l.Host(1))
	f := footprintOf(t, l.ID)
	// Two hosts with their engines and a container, and six processes of etcd, are far more than a handful.
	if len(f.processes) < 14 || len(f.namespaces) < 19 {
		t.Errorf("the lab was not seen: %d processes, namespaces %v", len(f.processes), f.namespaces)
	}
	must(t, l.Stop(t.Context()))
	checkNothingLeft(t, l.ID, l.Dir, f)
	if after := links(t); after != before {
		t.Errorf("links before:\n%s\nafter:\n%s", before, after)
	}
}

// ownerEnv makes this test binary a lab's owner that is there to be killed.
const ownerEnv = "LAB_TEST_OWNER"

func TestMain(m *testing.M) {
	if id := os.Getenv(ownerEnv); id != "" {
		if err := own(id); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		select {}
	}
	os.Exit(m.Run())
}

// own starts a lab in the way that `make lab` does, and stops right before or right after it lets go of it.
func own(id string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l, err := lab.Start(ctx, lab.Options{ID: id, Hosts: 2, Etcd: 1})
	if err != nil {
		return err
	}
	if os.Getenv(ownerEnv+"_DETACH") != "" {
		if err := l.Detach(); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(l.Dir)
}

// owner starts an owner and returns it once its lab is up, with the lab's directory.
func owner(t *testing.T, id string, env ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), ownerEnv+"="+id), env...)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	var dir string
	must(t, json.Unmarshal([]byte(line), &dir))
	return cmd, dir
}

func TestKilledOwnerTakesTheLabWithIt(t *testing.T) {
	id := fmt.Sprintf("killed%d", os.Getpid())
	before := links(t)
	cmd, dir := owner(t, id)
	f := footprintOf(t, id)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	eventually(t, "all processes are gone, with nobody to end them", func() bool { return len(footprintOf(t, id).processes) == 0 })
	must(t, lab.Down(t.Context(), id))
	checkNothingLeft(t, id, dir, f)
	if after := links(t); after != before {
		t.Errorf("links before:\n%s\nafter:\n%s", before, after)
	}
}

func TestDownEndsADetachedLab(t *testing.T) {
	id := fmt.Sprintf("detached%d", os.Getpid())
	cmd, dir := owner(t, id, ownerEnv+"_DETACH=1")
	t.Cleanup(func() { must(t, lab.Down(context.Background(), id)) })
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()

	l, err := lab.Attach(id)
	must(t, err)
	busy(t, l.Host(1))
	must(t, l.Host(2).Reboot(t.Context()))
	docker(t, l.Host(2), "ps")
	must(t, l.Member(1).Kill9(t.Context()))
	must(t, l.EtcdStart(t.Context()))
	if _, err := lab.Start(t.Context(), lab.Options{ID: id}); !errors.Is(err, lab.ErrUp) {
		t.Errorf("a second lab of the same name: %v, want %v", err, lab.ErrUp)
	}
	must(t, l.Host(2).PowerOff(t.Context()))
	must(t, l.Detach())

	// A host that is off is started by whoever comes next.
	l, err = lab.Attach(id)
	must(t, err)
	must(t, l.Host(2).PowerOn(t.Context()))
	docker(t, l.Host(2), "ps")
	f := footprintOf(t, id)
	must(t, l.Detach())
	must(t, lab.Down(t.Context(), id))
	checkNothingLeft(t, id, dir, f)
}

func TestDownAfterAKillHalfWay(t *testing.T) {
	id := fmt.Sprintf("halfway%d", os.Getpid())
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), ownerEnv+"="+id)
	must(t, cmd.Start())
	// Kill it as soon as there is anything, long before its engines answer.
	eventually(t, "the first process of the lab", func() bool { return len(footprintOf(t, id).processes) > 0 })
	f := footprintOf(t, id)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	eventually(t, "all processes are gone", func() bool { return len(footprintOf(t, id).processes) == 0 })
	must(t, lab.Down(t.Context(), id))
	root, err := lab.Root()
	must(t, err)
	checkNothingLeft(t, id, filepath.Join(root, "build", "lab-"+id), f)
}
