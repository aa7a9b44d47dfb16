package ahead_test

import (
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/ahead"
)

// A commit that is tried again and again, and told the same each time, does not
// keep a stream at one change.
func TestWhatIsToldAgainIsNoNews(t *testing.T) {
	var book ahead.Book
	s := book.Stream("")
	defer s.Close()
	s.Whole(1, nil, func(kv.Change) {})
	absent := kv.Op{Key: "k", Delete: true}
	rev := int64(10)
	told := func() {
		rev++ // of what is not there, nobody knows since when
		book.Begin(nil, []kv.Cond{{Key: "k", Absent: true}}).End(ahead.Event{Rev: rev, Op: absent})
	}
	calls := 0
	events := []ahead.Event{{Rev: 2, Op: kv.Op{Key: "k", Value: []byte("old")}}, {Rev: 2, Op: kv.Op{Key: "other", Value: []byte("new")}}}
	err := s.Events(t.Context(), 2, events, func(kv.Change) {
		if calls++; calls < 100 {
			told()
		}
	})
	if err != nil || calls != 2 {
		t.Errorf("%d calls (%v), want two: the change, and that k is gone", calls, err)
	}
}
