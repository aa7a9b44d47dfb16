package ahead_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/ahead"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func put(key, value string) kv.Op { return kv.Op{Key: key, Value: []byte(value)} }

func del(key string) kv.Op { return kv.Op{Key: key, Delete: true} }

func event(rev int64, op kv.Op) ahead.Event { return ahead.Event{Rev: rev, Op: op} }

// commit is a commit that was answered.
func commit(b *ahead.Book, rev int64, ops ...kv.Op) {
	b.Begin(ops, nil).End(ahead.Told(rev, ops)...)
}

// heard is what fn was called with, as text.
type heard struct{ lines []string }

func (h *heard) fn(c kv.Change) { h.lines = append(h.lines, text(c)) }

func text(c kv.Change) string {
	var out []string
	if c.Whole {
		out = append(out, "all:")
	}
	for _, op := range c.Ops {
		if op.Delete {
			out = append(out, "-"+op.Key)
		} else {
			out = append(out, op.Key+"="+string(op.Value))
		}
	}
	return strings.Join(out, " ")
}

func (h *heard) want(t *testing.T, lines ...string) {
	t.Helper()
	if strings.Join(h.lines, "\n") != strings.Join(lines, "\n") {
		t.Errorf("it told %q, want %q", h.lines, lines)
	}
	h.lines = nil
}

func events(t *testing.T, s *ahead.Stream, fn func(kv.Change), rev int64, events ...ahead.Event) {
	t.Helper()
	if err := s.Events(t.Context(), rev, events, fn); err != nil {
		t.Fatal(err)
	}
}

func TestOlderChangesAreLeftOut(t *testing.T) {
	var b ahead.Book
	var h heard
	s := b.Stream("")
	defer s.Close()
	s.Whole(1, nil, h.fn)
	h.want(t, "all:")
	commit(&b, 5, put("a", "5"), del("b"))
	events(t, s, h.fn, 4, event(3, put("a", "3")), event(3, put("c", "3")), event(4, put("b", "4")))
	h.want(t, "c=3")
	events(t, s, h.fn, 5, event(5, put("a", "5")), event(5, del("b")))
	h.want(t)
	if n := b.Notes(); n != 0 {
		t.Errorf("passed, it has %d notes", n)
	}
	events(t, s, h.fn, 7, event(6, put("a", "6")), event(7, put("b", "7")))
	h.want(t, "a=6 b=7")
}

func TestTheLastOfACommitsOpsCounts(t *testing.T) {
	var b ahead.Book
	var h heard
	s := b.Stream("")
	defer s.Close()
	commit(&b, 5, put("a", "x"), del("a"), put("b", "x"), put("a", "y"), del("b"))
	s.Whole(4, []kv.Op{put("a", "4"), put("b", "4")}, h.fn)
	h.want(t, "all: a=y")
}

func TestAPictureIsBroughtUpToDate(t *testing.T) {
	var b ahead.Book
	var h heard
	s := b.Stream("k/")
	defer s.Close()
	commit(&b, 5, put("k/a", "5"), del("k/b"), put("k/new", "5"), put("other", "5"))
	commit(&b, 2, put("k/old", "2"))
	s.Whole(4, []kv.Op{put("k/a", "4"), put("k/b", "4"), put("k/c", "4")}, h.fn)
	h.want(t, "all: k/a=5 k/c=4 k/new=5")
	s.Whole(9, []kv.Op{put("k/a", "9")}, h.fn)
	h.want(t, "all: k/a=9")
}

func TestAChangeWaitsForTheCommitThatMayHaveMadeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b ahead.Book
		var h heard
		s := b.Stream("")
		defer s.Close()
		s.Whole(1, nil, h.fn)
		mine, other := b.Begin([]kv.Op{put("a", "2")}, nil), b.Begin(nil, []kv.Cond{{Key: "z"}})
		done := make(chan struct{})
		go func() {
			defer close(done)
			events(t, s, h.fn, 2, event(2, put("a", "2")), event(2, put("b", "2")))
		}()
		synctest.Wait()
		h.want(t, "all:")
		mine.End(event(2, put("a", "2")))
		<-done
		h.want(t, "b=2")
		other.End()
		// A condition's key counts as well, and an answer that got lost tells nothing.
		look := b.Begin(nil, []kv.Cond{{Key: "a"}})
		done = make(chan struct{})
		go func() {
			defer close(done)
			events(t, s, h.fn, 3, event(3, put("a", "3")))
		}()
		synctest.Wait()
		h.want(t)
		look.End()
		<-done
		h.want(t, "a=3")
		// The wait ends with its context.
		stuck := b.Begin([]kv.Op{put("a", "")}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Events(ctx, 4, []ahead.Event{event(4, put("a", "4"))}, h.fn); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		stuck.End()
	})
}

func TestWhatIsToldMeanwhileComesAfter(t *testing.T) {
	var b ahead.Book
	var lines []string
	s := b.Stream("k")
	defer s.Close()
	first := true
	fn := func(c kv.Change) {
		if first {
			first = false
			commit(&b, 5, put("k1", "5"), put("k2", "5"), put("other", "5"))
		}
		lines = append(lines, text(c)+" / "+text(c.Fresh()))
	}
	s.Whole(1, []kv.Op{put("k1", "1")}, fn)
	want(t, lines, "all: k1=1 / all: k1=5 k2=5")
	first, lines = true, nil
	b.Forget()
	events(t, s, func(c kv.Change) {
		if first {
			first = false
			commit(&b, 9, del("k1"), put("k3", "9"))
		}
		lines = append(lines, text(c))
	}, 8, event(7, put("k1", "7")), event(8, put("k2", "8")))
	want(t, lines, "k1=7 k2=8", "-k1")
}

func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(lines, "\n") {
		t.Errorf("got %q, want %q", got, lines)
	}
}

func TestNotesAreKeptForTheSlowestStreamAlone(t *testing.T) {
	var b ahead.Book
	var h heard
	commit(&b, 3, put("a", "3"))
	if n := b.Notes(); n != 0 {
		t.Errorf("with no stream it has %d notes", n)
	}
	slow, fast := b.Stream(""), b.Stream("")
	slow.Whole(3, nil, h.fn)
	fast.Whole(3, nil, h.fn)
	for i := range 100 {
		commit(&b, int64(4+i), put(fmt.Sprint(i%10), "x"))
		fast.Passed(int64(4 + i))
	}
	if n := b.Notes(); n != 100 {
		t.Errorf("for the slow stream it has %d notes, want 100", n)
	}
	slow.Close()
	fast.Passed(103)
	if n := b.Notes(); n != 0 {
		t.Errorf("then it has %d notes", n)
	}
	fast.Close()
}

func TestAStreamThatIsOvertakenBeginsAgain(t *testing.T) {
	var b ahead.Book
	s := b.Stream("")
	defer s.Close()
	s.Passed(1)
	for i := range ahead.Limit {
		commit(&b, int64(i+2), put("k", "v"))
	}
	select {
	case <-s.Overtaken():
		t.Fatal("it is overtaken too early")
	default:
	}
	commit(&b, ahead.Limit+2, put("k", "v"))
	<-s.Overtaken()
	s.Whole(ahead.Limit+2, nil, func(kv.Change) {})
	if n := b.Notes(); n != 0 {
		t.Errorf("then it has %d notes", n)
	}
}
