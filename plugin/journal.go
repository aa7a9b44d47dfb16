package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// recallWindow is how long after our start a call of the process before us can
// still be repeated: the engine tries for 1+2+4+8 s (moby,
// pkg/plugins/client.go), and our own start takes its share.
const recallWindow = 30 * time.Second

// journal remembers the calls that are being served, so that the one which a
// crash cut off can be finished: the engine repeats it, but without its
// content, and a container whose start fails is not started again by any
// restart policy.
//
// A repeated call is served only while exactly one call to that path was cut
// off. With two, none could be told from the other, and an error is better
// than another container's address.
type journal struct {
	dir   string
	seq   atomic.Uint64
	since time.Time

	mu  sync.Mutex
	cut map[string][][]byte // by path: what the process before left; guarded by mu
}

// openJournal takes up what an earlier process left in dir.
func openJournal(dir string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	j := &journal{dir: dir, since: time.Now(), cut: map[string][][]byte{}}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		method, _, ok := strings.Cut(e.Name(), "-")
		body, err := os.ReadFile(file)
		if ok && err == nil {
			path := "/" + method
			j.cut[path] = append(j.cut[path], body)
		}
		if err := os.Remove(file); err != nil {
			return nil, fmt.Errorf("remove old note: %w", err)
		}
	}
	return j, nil
}

// begin notes a call; the returned function takes the note back.
func (j *journal) begin(path string, body []byte) (done func()) {
	name := fmt.Sprintf("%s-%d", strings.TrimPrefix(path, "/"), j.seq.Add(1))
	file := filepath.Join(j.dir, name)
	if err := os.WriteFile(file, body, 0o600); err != nil {
		// Without a note the call is served all the same; only its repetition
		// after a crash is lost. Half a note must not stay.
		_ = os.Remove(file)
		return func() {}
	}
	return func() {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			_ = os.Truncate(file, 0)
		}
	}
}

// recall returns the content of the one call to path that was cut off, once;
// nil when there was none, or more.
func (j *journal) recall(path string) []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	cut := j.cut[path]
	delete(j.cut, path)
	if len(cut) != 1 || len(cut[0]) == 0 || time.Since(j.since) > recallWindow {
		return nil
	}
	return cut[0]
}
