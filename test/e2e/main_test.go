package e2e

import (
	"archive/tar"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dockstack/dockstack/test/lab"
)

// The labs that tests share. Each starts when the first test wants it.
var (
	// alone is one host with its names in its own store.
	alone = sharedLab{opts: lab.Options{}}
	// together is three hosts with their names in an etcd of three members.
	together = sharedLab{opts: lab.Options{Hosts: 3, Etcd: 3, EtcdUnsynced: true}}
)

// TestMain lets every test be one that runs, and most of them wait for their turn with a lab: a test of one host and
// one of three go on at the same time, which spend most of it waiting.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "1000"); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	defer func() {
		for _, l := range []*sharedLab{&alone, &together} {
			if l.lab == nil {
				continue
			}
			if err := l.lab.Stop(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}()
	return m.Run()
}

type sharedLab struct {
	opts lab.Options
	// A test has the lab for itself, in the order in which the tests stand: some make names or subnets that a later
	// one of another order would find known.
	tickets int
	turn    turn
	once    sync.Once
	lab     *lab.Lab
	err     error
}

// turn lets holders of tickets go on one after the other, 0 first.
type turn struct {
	mu     sync.Mutex
	now    int
	change chan struct{}
}

func (q *turn) wait(ticket int) {
	for {
		q.mu.Lock()
		if q.now == ticket {
			q.mu.Unlock()
			return
		}
		if q.change == nil {
			q.change = make(chan struct{})
		}
		change := q.change
		q.mu.Unlock()
		<-change
	}
}

func (q *turn) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.now++
	if q.change != nil {
		close(q.change)
		q.change = nil
	}
}

// up is the lab, with the plugin and the stand-in image on every host, when it is this test's turn.
func (s *sharedLab) up(t *testing.T) *lab.Lab {
	t.Helper()
	ticket := s.tickets // until Parallel, tests start one after the other
	s.tickets++
	t.Parallel()
	s.turn.wait(ticket)
	t.Cleanup(s.turn.end) // called last, after whatever else the test cleans up
	s.once.Do(func() {
		ctx := context.Background() // it outlives the test
		if s.lab, s.err = lab.Start(ctx, s.opts); s.err == nil {
			s.err = prepare(ctx, s.lab)
		}
	})
	if s.err != nil {
		t.Fatalf("e2e needs lab hosts (make engine plugin, as root): %v", s.err)
	}
	return s.lab
}

// prepare installs the plugin and the stand-in image on every host.
func prepare(ctx context.Context, l *lab.Lab) error {
	dir, err := os.MkdirTemp("", "dockstack-e2e-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin := filepath.Join(dir, "standin")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", bin, "../images/standin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the stand-in: %w: %s", err, out)
	}
	image := filepath.Join(dir, "standin.tar")
	if err := oneFileTar(image, bin); err != nil {
		return err
	}
	for _, h := range l.Hosts {
		settings, err := h.StoreSettings(ctx)
		if err != nil {
			return err
		}
		if err := h.InstallPlugin(ctx, settings...); err != nil {
			return err
		}
		if err := h.ImportImage(ctx, image, standin, `ENTRYPOINT ["/standin"]`); err != nil {
			return err
		}
	}
	return nil
}

// oneFileTar makes a root file system of a single program.
func oneFileTar(path, program string) error {
	body, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	err = w.WriteHeader(&tar.Header{Name: filepath.Base(program), Mode: 0o755, Size: int64(len(body))})
	if err == nil {
		_, err = w.Write(body)
	}
	return errors.Join(err, w.Close(), f.Close())
}
