package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

// cutOff notes calls as a process leaves them that is killed, while there is none.
func (e *engine) cutOff(path string, bodies ...string) {
	e.t.Helper()
	for i, body := range bodies {
		file := filepath.Join(e.dir, "calls", fmt.Sprintf("%s-%d", strings.TrimPrefix(path, "/"), i+1))
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			e.t.Fatal(err)
		}
	}
}

// notes are the files of the journal.
func (e *engine) notes() []string {
	e.t.Helper()
	entries, err := os.ReadDir(filepath.Join(e.dir, "calls"))
	if err != nil {
		e.t.Fatal(err)
	}
	var out []string
	for _, f := range entries {
		out = append(out, f.Name())
	}
	return out
}

// failed is the error of an answer, under whichever key.
func failed(answer object) string {
	for _, key := range []string{"Err", "Error"} {
		if text, _ := answer[key].(string); text != "" {
			return text
		}
	}
	return ""
}

// Where every request has the same answer, calls that were cut off together are
// all finished, and every repetition is answered, once they are.
func TestCallsCutOffTogetherAreFinished(t *testing.T) {
	e := newEngine(t)
	pool := e.createNetwork("n1", "172.16.0.0/16", nil)
	var ends, releases []string
	for _, name := range []string{"a", "b", "c"} {
		addr, _ := e.startContainer("n1", pool, name, "e-"+name)
		ends = append(ends, fmt.Sprintf(`{"NetworkID":"n1","EndpointID":"e-%s"}`, name))
		releases = append(releases, fmt.Sprintf(`{"PoolID":%q,"Address":%q}`, pool, strings.TrimSuffix(addr, "/16")))
	}
	for _, c := range []struct {
		path   string
		bodies []string
		done   func() string // what is not done, when the first repetition was answered
	}{
		{"/NetworkDriver.EndpointOperInfo", ends, func() string { return "" }},
		{"/NetworkDriver.Leave", ends, func() string { return "" }},
		{"/NetworkDriver.DeleteEndpoint", ends, func() string {
			if left := e.fabric.Endpoints(); len(left) > 0 {
				return fmt.Sprint("still attached: ", left)
			}
			return ""
		}},
		{"/IpamDriver.ReleaseAddress", releases, func() string {
			all, err := e.state.Leases.Leases(t.Context(), ipam.LeaseFilter{})
			for _, l := range all {
				if l.State == ipam.StateLive {
					return fmt.Sprint("still live: ", l)
				}
			}
			if err != nil {
				return err.Error()
			}
			return ""
		}},
	} {
		e.stop()
		e.cutOff(c.path, c.bodies...)
		e.start()
		for i := range c.bodies {
			if text := failed(e.raw(c.path, "")); text != "" {
				t.Errorf("%s, repetition %d: %s", c.path, i+1, text)
			}
			if left := c.done(); left != "" {
				t.Errorf("%s, repetition %d: %s", c.path, i+1, left)
			}
		}
		if text := failed(e.raw(c.path, "")); !strings.Contains(text, ErrCut.Error()) {
			t.Errorf("%s: one repetition more than calls got %q", c.path, text)
		}
		if left := e.notes(); len(left) > 0 {
			t.Errorf("%s: notes left: %v", c.path, left)
		}
	}
}

// If one of them fails, none is told that his succeeded, and each that the
// failure may be another's.
func TestFailureOfCallsCutOffTogether(t *testing.T) {
	e := newEngine(t)
	pool := e.createNetwork("n1", "172.16.0.0/16", nil)
	e.stop()
	good, bad := fmt.Sprintf(`{"PoolID":%q,"Address":"172.16.0.7"}`, pool), `{"PoolID":"nonsense","Address":"172.16.0.7"}`
	e.cutOff("/IpamDriver.ReleaseAddress", good, bad)
	e.start()
	for range 2 {
		if text := failed(e.raw("/IpamDriver.ReleaseAddress", "")); !strings.Contains(text, "2 such calls") || !strings.Contains(text, "nonsense") {
			t.Errorf("told %q", text)
		}
	}
	e.stop()
	e.cutOff("/IpamDriver.ReleaseAddress", bad)
	e.start()
	if text := failed(e.raw("/IpamDriver.ReleaseAddress", "")); strings.Contains(text, "such calls") || !strings.Contains(text, "nonsense") {
		t.Errorf("alone it is told %q", text)
	}
}

// Of two Joins none can be told from the other. The engine takes the network from
// the container then, and a person is told.
func TestJoinsCutOffTogether(t *testing.T) {
	e := newEngine(t)
	e.stop()
	e.cutOff(joinPath, `{"NetworkID":"n1","EndpointID":"e1"}`, `{"NetworkID":"n1","EndpointID":"e2"}`)
	e.start()
	if text := failed(e.raw(joinPath, "")); !strings.Contains(text, ErrCut.Error()) || !strings.Contains(text, ErrJoin.Error()) {
		t.Errorf("told %q", text)
	}
}

// Calls that come while the switch is being given the networks of an earlier run wait
// until it has them.
func TestCallsDuringRestore(t *testing.T) {
	e := newEngine(t)
	pool := e.createNetwork("n1", "172.16.0.0/16", nil)
	_, mac := e.startContainer("n1", pool, "web", "e1")
	e.stop()
	e.fabric = newFakeFabric()
	began, release := make(chan struct{}), make(chan struct{})
	e.fabric.putting = func() { close(began); <-release }
	e.start()
	var wg sync.WaitGroup
	ask := func() {
		req := object{"NetworkID": "n1", "EndpointID": "e1", "Interface": object{"Address": "172.16.0.2/16"}}
		if _, said := e.call("/NetworkDriver.CreateEndpoint", req); said != "" {
			t.Errorf("refused: %s", said)
		}
	}
	wg.Go(ask)
	<-began
	wg.Go(ask)
	time.Sleep(100 * time.Millisecond) // the second one gets as far as it can
	close(release)
	wg.Wait()
	if got := e.fabric.Endpoints(); len(got) != 1 || got[0].MAC.String() != mac {
		t.Errorf("the switch has %v", got)
	}
}

// The repetitions come at once, and one of their callers goes away.
func TestRepetitionsAtOnce(t *testing.T) {
	dir := t.TempDir()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	const calls = 20
	for i := range calls {
		j.begin("/A.B", fmt.Appendf(nil, "%d", i))
	}
	if j, err = openJournal(dir); err != nil {
		t.Fatal(err)
	}
	var served atomic.Int64
	serve := func(ctx context.Context, body []byte, done func()) (any, error) {
		defer done()
		time.Sleep(10 * time.Millisecond)
		if string(body) == "7" {
			panic("it has a flaw")
		}
		served.Add(1)
		return "same", ctx.Err()
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := j.finish(gone, "/A.B", serve); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who went away is told %v", err)
	}
	var wg sync.WaitGroup
	for range calls - 1 {
		wg.Go(func() {
			if _, err := j.finish(t.Context(), "/A.B", serve); err == nil || !strings.Contains(err.Error(), "a flaw") || strings.Contains(err.Error(), "canceled") {
				t.Errorf("told %v", err)
			}
		})
	}
	wg.Wait()
	if _, err := j.finish(t.Context(), "/A.B", serve); !errors.Is(err, ErrCut) || served.Load() != calls-1 {
		t.Errorf("one more is told %v, and %d were served", err, served.Load())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("notes left: %v, %v", left, err)
	}
}

// The plugin dies again before the engine comes to repeat the call, and again
// while it is served again.
func TestCallIsFinishedAfterSeveralDeaths(t *testing.T) {
	dir := t.TempDir()
	var j *journal
	die := func() {
		t.Helper()
		var err error
		if j, err = openJournal(dir); err != nil {
			t.Fatal(err)
		}
	}
	die()
	j.begin("/A.B", []byte("first"))
	die()
	j.begin("/A.C", []byte("other"))() // numbers go on
	die()
	if body, _ := j.one("/A.B"); string(body) != "first" {
		t.Fatalf("after two deaths it is %q", body)
	}
	die()
	body, done := j.one("/A.B")
	if string(body) != "first" {
		t.Fatalf("after a death in its repetition it is %q", body)
	}
	done()
	die()
	if body, _ := j.one("/A.B"); body != nil {
		t.Errorf("it was answered, and is still there: %q", body)
	}
	j.begin("/A.B", []byte("second"))
	die()
	j.begin("/A.B", []byte("third"))
	die()
	if body, _ := j.one("/A.B"); body != nil {
		t.Errorf("two were cut off, by different deaths, and %q is taken", body)
	}
	die()
	if body, _ := j.one("/A.B"); body != nil {
		t.Errorf("two were cut off, none of them is known, and %q is taken", body)
	}
}

// A call that the engine gave up is not taken for another, and neither is half a
// note, or what is none.
func TestStaleNotes(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-recallWindow - time.Second).UnixMilli()
	ahead := time.Now().Add(recallWindow + time.Second).UnixMilli()
	for name, body := range map[string]string{
		fmt.Sprint("A.B-1-", old): "old", fmt.Sprint("A.B-2-", ahead): "the clock was set back", "A.B-3": "", "A.B": "x", "A.B-x": "x", "A.B-4-x": "x", "A.B-5-1-1": "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := j.one("/A.B"); body != nil {
		t.Errorf("%q is taken", body)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("notes left: %v, %v", left, err)
	}
}
