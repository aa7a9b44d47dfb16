package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func add(r *Ring, n int) {
	for range n {
		r.Add(admin.Event{Kind: admin.EventLive})
	}
}

func seqs(events []admin.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprint(e.Seq))
	}
	return strings.Join(out, " ")
}

// The ring has the last events and no others.
func TestRingKeepsTheLast(t *testing.T) {
	r := New(4)
	tests := []struct {
		add   int
		since uint64
		want  string
	}{
		{0, 0, ""},
		{1, 0, "1"},
		{0, 1, ""},
		{2, 1, "2 3"},
		{1, 0, "1 2 3 4"},
		{1, 0, "2 3 4 5"},
		{0, 4, "5"},
		{0, 99, ""},
		{10, 3, "12 13 14 15"},
		{0, admin.LatestEvent, ""},
	}
	for _, tt := range tests {
		add(r, tt.add)
		if got := seqs(r.Since(tt.since)); got != tt.want {
			t.Errorf("since %d there are %q, want %q", tt.since, got, tt.want)
		}
	}
	if r.Since(14)[0].At.IsZero() {
		t.Error("an event has no time")
	}
}

func TestWatch(t *testing.T) {
	r := New(8)
	add(r, 3)
	latest, all, stale := r.Watch(admin.LatestEvent), r.Watch(0), r.Watch(77)
	got, err := all.Next(t.Context())
	if err != nil || seqs(got) != "1 2 3" {
		t.Errorf("from the first on there are %q, %v", seqs(got), err)
	}
	for _, w := range []*Watch{latest, stale} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if got, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a new watch has %q, %v", seqs(got), err)
		}
		cancel()
	}
	var wg sync.WaitGroup
	for _, w := range []*Watch{latest, stale, all} {
		wg.Go(func() {
			if got, err := w.Next(t.Context()); err != nil || seqs(got) != "4" {
				t.Errorf("a waiting watch gets %q, %v", seqs(got), err)
			}
		})
	}
	add(r, 1)
	wg.Wait()
}

// A watch that is overtaken is told how much it missed, and the ring goes on.
func TestSlowWatch(t *testing.T) {
	r := New(8)
	w := r.Watch(0)
	add(r, 11)
	_, err := w.Next(t.Context())
	if err == nil || !strings.Contains(err.Error(), "3 events") || admin.CodeOf(err) != admin.CodeBusy {
		t.Fatalf("a slow watch gets %v", err)
	}
}

// Everybody gets everything in order while many add at once.
func TestManyAtOnce(t *testing.T) {
	r := New(100_000)
	const n = 2000
	var add, read sync.WaitGroup
	for range 4 {
		w := r.Watch(0)
		read.Go(func() {
			var have []admin.Event
			for len(have) < 4*n {
				got, err := w.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				have = append(have, got...)
			}
			if !slices.IsSortedFunc(have, func(a, b admin.Event) int { return int(a.Seq) - int(b.Seq) }) || have[len(have)-1].Seq != 4*n {
				t.Error("events are out of order, or missing")
			}
		})
		add.Go(func() {
			for range n {
				r.Add(admin.Event{})
			}
		})
	}
	add.Wait()
	read.Wait()
}

func TestTold(t *testing.T) {
	var told Told
	texts := func(now ...string) string {
		var out []string
		for _, e := range told.Compare(now) {
			out = append(out, e.Text)
		}
		slices.Sort(out)
		return strings.Join(out, ", ")
	}
	for _, tt := range []struct {
		now  []string
		want string
	}{
		{nil, ""}, {[]string{"a", "b"}, "a, b"}, {[]string{"b", "a"}, ""}, {[]string{"b", "c"}, "c, mended: a"}, {nil, "mended: b, mended: c"},
	} {
		if got := texts(tt.now...); got != tt.want {
			t.Errorf("with %q it tells %q, want %q", tt.now, got, tt.want)
		}
	}
}

// Samples are differences, one each ten seconds, and an hour of them.
func TestSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n uint64
		s := NewSamples(func() admin.DNSStatus { n += 7; return admin.DNSStatus{Queries: n, Answered: 2 * n, Failed: 5} })
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		time.Sleep(25 * time.Second)
		got := s.All()
		if len(got) != 2 || got[1].Queries != 7 || got[1].Answered != 14 || got[1].Failed != 0 || got[1].Seconds != 10 {
			t.Errorf("after 25 s the samples are %+v", got)
		}
		time.Sleep(2 * time.Hour)
		got = s.All()
		if len(got) != samples || time.Since(got[0].At) > time.Hour+sampleEvery {
			t.Errorf("after two hours there are %d samples, the first of %s", len(got), got[0].At)
		}
		cancel()
		synctest.Wait()
	})
}
