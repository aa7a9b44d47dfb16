package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// recallWindow is how long after a process was cut off its calls can still be
// repeated: the engine tries for 1+2+4+8 s (moby, pkg/plugins/client.go), and
// our own start takes its share.
const recallWindow = 30 * time.Second

// journal remembers the calls that are being served, so that those which a
// crash cut off can be finished: the engine repeats them, but without their
// content, and a container whose start fails is not started again by any
// restart policy.
//
// Which of two calls to one path a repetition is of can't be told. Where the
// answer is the same for every request, all of them are finished and each
// repetition is answered (finish); elsewhere it is an error, since that is
// better than another container's address (one).
type journal struct {
	dir string
	seq atomic.Uint64

	mu  sync.Mutex
	cut map[string][]note // by path: what processes before left; guarded by mu
	// batches are the paths whose calls were finished together, while some of
	// their repetitions are to come; guarded by mu.
	batches map[string]*batch
}

// note is a call. Its file is METHOD-NUMBER while it is served; once a process
// found it cut off, METHOD-NUMBER-MOMENT with the milliseconds of that. It stays
// there, for the next process, until it is served again: a plugin may die more
// than once before the engine comes to repeat a call.
type note struct {
	method string
	seq    uint64
	cut    time.Time
	body   []byte
}

func (n note) name() string {
	name := fmt.Sprintf("%s-%d", n.method, n.seq)
	if !n.cut.IsZero() {
		name += fmt.Sprintf("-%d", n.cut.UnixMilli())
	}
	return name
}

// late tells whether it can't be repeated any more. The clock may have been set
// back since.
func (n note) late() bool { return time.Since(n.cut).Abs() > recallWindow }

// openJournal takes up what earlier processes left in dir.
func openJournal(dir string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	j := &journal{dir: dir, cut: map[string][]note{}, batches: map[string]*batch{}}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		n, ok := readNote(file)
		if ok {
			j.seq.Store(max(j.seq.Load(), n.seq))
		}
		if ok && n.cut.IsZero() {
			n.cut = time.UnixMilli(time.Now().UnixMilli())
			ok = os.Rename(file, filepath.Join(dir, n.name())) == nil
		}
		if ok && !n.late() {
			j.cut["/"+n.method] = append(j.cut["/"+n.method], n)
			continue
		}
		if err := os.Remove(file); err != nil {
			return nil, fmt.Errorf("remove old note: %w", err)
		}
	}
	return j, nil
}

// readNote reads a note; half of one is none.
func readNote(file string) (n note, ok bool) {
	parts := strings.Split(filepath.Base(file), "-")
	if len(parts) != 2 && len(parts) != 3 {
		return n, false
	}
	var err, cutErr, readErr error
	n.method = parts[0]
	n.seq, err = strconv.ParseUint(parts[1], 10, 64)
	if len(parts) == 3 {
		var ms int64
		ms, cutErr = strconv.ParseInt(parts[2], 10, 64)
		n.cut = time.UnixMilli(ms)
	}
	n.body, readErr = os.ReadFile(file)
	return n, errors.Join(err, cutErr, readErr) == nil && len(n.body) > 0
}

// begin notes a call; the returned function takes the note back.
func (j *journal) begin(path string, body []byte) (done func()) {
	n := note{method: strings.TrimPrefix(path, "/"), seq: j.seq.Add(1)}
	if err := os.WriteFile(filepath.Join(j.dir, n.name()), body, 0o600); err != nil {
		// Without a note the call is served all the same; only its repetition
		// after a crash is lost. Half a note must not stay.
		j.drop(n)
		return func() {}
	}
	return func() { j.drop(n) }
}

// drop removes a note, or at least its content.
func (j *journal) drop(n note) {
	file := filepath.Join(j.dir, n.name())
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		_ = os.Truncate(file, 0)
	}
}

// again notes that a call is served once more; the returned function takes the
// note back.
func (j *journal) again(n note) (done func()) {
	found := n
	n.cut = time.Time{} // if we die now, the engine's patience begins anew
	if err := os.Rename(filepath.Join(j.dir, found.name()), filepath.Join(j.dir, n.name())); err != nil {
		n = found
	}
	return func() { j.drop(n) }
}

// take returns the calls to path that were cut off, once; mu is held.
func (j *journal) take(path string) []note {
	var out []note
	for _, n := range j.cut[path] {
		if n.late() {
			j.drop(n)
			continue
		}
		out = append(out, n)
	}
	delete(j.cut, path)
	return out
}

// one returns the content of the one call to path that was cut off, and what
// takes its note back; nil when there was none, or more.
func (j *journal) one(path string) (body []byte, done func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	cut := j.take(path)
	if len(cut) != 1 {
		for _, n := range cut {
			j.drop(n)
		}
		return nil, nil
	}
	return cut[0].body, j.again(cut[0])
}

// batch are calls to one path that were cut off, and are finished together.
type batch struct {
	calls int
	// left is how many repetitions are to come, until is how long they may;
	// guarded by the journal's mu.
	left  int
	until time.Time
	// done is closed when all were served; err, and what was answered, follow.
	done chan struct{}
	err  error
	res  any
}

// finish serves every call to path that was cut off, with the first repetition,
// and has that one and as many more as there were calls return what came of it:
// the answer of any of them, since those are the same. Nobody is told that his
// call is done before all are, because it may be the last.
//
// If one of them failed, every one is told, and that it may have been another's:
// the caller who is told of a failure for nothing makes sure once more, which
// handlers allow, but one who is told nothing goes on as if his call were done.
func (j *journal) finish(ctx context.Context, path string, serve func(ctx context.Context, body []byte, done func()) (any, error)) (any, error) {
	j.mu.Lock()
	b := j.batches[path]
	first := b == nil || time.Now().After(b.until)
	if first {
		cut := j.take(path)
		b = &batch{calls: len(cut), left: len(cut), until: time.Now().Add(recallWindow), done: make(chan struct{})}
		if b.calls == 0 {
			delete(j.batches, path)
			j.mu.Unlock()
			return nil, ErrCut
		}
		j.batches[path] = b
		// One caller's going away must not end the others' calls.
		go j.serve(context.WithoutCancel(ctx), b, cut, serve)
	}
	if b.left--; b.left == 0 {
		delete(j.batches, path)
	}
	j.mu.Unlock()
	select {
	case <-b.done:
		return b.res, b.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve finishes a batch's calls, all at once as they were before.
func (j *journal) serve(ctx context.Context, b *batch, cut []note, serve func(context.Context, []byte, func()) (any, error)) {
	defer close(b.done)
	answers, errs := make([]any, len(cut)), make([]error, len(cut))
	var wg sync.WaitGroup
	for i, n := range cut {
		done := j.again(n)
		wg.Go(func() {
			defer func() { // as net/http does for the calls that have a handler of their own
				if r := recover(); r != nil {
					errs[i] = fmt.Errorf("panic: %v", r)
				}
			}()
			answers[i], errs[i] = serve(ctx, n.body, done)
		})
	}
	wg.Wait()
	b.res, b.err = answers[0], errors.Join(errs...)
	if b.err != nil && b.calls > 1 {
		b.err = fmt.Errorf("the plugin stopped in the middle of %d such calls, and which of them this one is can't be told; not all could be finished: %w", b.calls, b.err)
	}
}
