package boltkv_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
)

// The test binary runs itself as another process where a test needs one to
// kill, or one with mounts of its own, which end with it.
const (
	roleEnv = "BOLTKV_TEST_ROLE"
	pathEnv = "BOLTKV_TEST_PATH"
)

var roles = map[string]func() int{
	"writer":   writer,
	"mounts":   mountsOfItsOwn,
	"readonly": mountsOfItsOwn,
}

// inRole is this binary in a role. It dies with the test.
func inRole(t *testing.T, role, path string, attr syscall.SysProcAttr) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), roleEnv+"="+role, pathEnv+"="+path)
	cmd.Stderr = os.Stderr
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = &attr
	return cmd
}

// writers is how many goroutines write at once in the writer role.
const writers = 4

// writer commits for ever. Each of its goroutines writes growing numbers
// under keys of its own, and says so once the commit is reported.
func writer() int {
	s, err := boltkv.Open(os.Getenv(pathEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	next := make([]int, writers)
	if err := s.Load(context.Background(), "last/", func(key string, value []byte) error {
		w, err := strconv.Atoi(strings.TrimPrefix(key, "last/"))
		if err == nil {
			next[w], err = strconv.Atoi(string(value))
		}
		return err
	}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var out sync.Mutex
	var failed atomic.Bool
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := next[w] + 1; !failed.Load(); i++ {
				if err := s.Commit(context.Background(), []kv.Op{
					{Key: fmt.Sprintf("last/%d", w), Value: []byte(strconv.Itoa(i))},
					{Key: fmt.Sprintf("all/%d/%08d", w, i), Value: []byte(strconv.Itoa(i))},
					{Key: fmt.Sprintf("all/%d/%08d", w, i-50), Delete: true},
				}); err != nil {
					fmt.Fprintln(os.Stderr, err)
					failed.Store(true)
					return
				}
				out.Lock()
				fmt.Println(w, i)
				out.Unlock()
			}
		})
	}
	wg.Wait()
	return 1
}

// TestKilledWriter kills a writing process again and again: the store opens,
// and has every commit that was reported, and those whole.
func TestKilledWriter(t *testing.T) {
	path := t.TempDir() + "/store.db"
	last := make([]int, writers)
	for round := range 12 {
		cmd := inRole(t, "writer", path, syscall.SysProcAttr{})
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		// The more rounds, the longer it may write: kills hit all phases.
		for n := 0; lines.Scan(); n++ {
			var w, i int
			if _, err := fmt.Sscan(lines.Text(), &w, &i); err != nil {
				t.Fatalf("the writer said %q", lines.Text())
			}
			last[w] = i
			if n == round*15 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("the writer ended by itself: %v", err)
		}
		wantWritten(t, path, last)
	}
	t.Logf("the writers got to %v", last)
}

func wantWritten(t *testing.T, path string, last []int) {
	t.Helper()
	s := open(t, path)
	got := load(t, s)
	closeStore(t, s)
	for w, reported := range last {
		have, _ := strconv.Atoi(got[fmt.Sprintf("last/%d", w)])
		if have != reported && have != reported+1 {
			t.Fatalf("writer %d has %d in the store, reported was %d", w, have, reported)
		}
		for i := max(1, have-49); i <= have; i++ {
			if key := fmt.Sprintf("all/%d/%08d", w, i); got[key] != strconv.Itoa(i) {
				t.Fatalf("%s is %q", key, got[key])
			}
			delete(got, fmt.Sprintf("all/%d/%08d", w, i))
		}
		delete(got, fmt.Sprintf("last/%d", w))
	}
	if len(got) != 0 {
		t.Fatalf("half a commit: %v", got)
	}
}
