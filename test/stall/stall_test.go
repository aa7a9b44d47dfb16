package stall

import (
	"slices"
	"testing"
	"time"
)

func TestSinceCountsWhatIsAfter(t *testing.T) {
	later := time.Now().Add(time.Hour)
	at := func(s int) time.Time { return later.Add(time.Duration(s) * time.Second) }
	mu.Lock()
	seen = append(seen, span{at(0), at(3)}, span{at(10), at(11)})
	mu.Unlock()
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		seen = slices.DeleteFunc(seen, func(s span) bool { return !s.from.Before(later) })
	}()
	for began, want := range map[int]time.Duration{-5: 4, 0: 4, 2: 2, 5: 1, 10: 1, 12: 0} {
		if got := Since(at(began)).Round(time.Second); got != want*time.Second {
			t.Errorf("since %d: %s, want %ds", began, got, want)
		}
	}
}

// A standstill that has just ended counts, though the timer had no turn since, and
// it counts once.
func TestSinceCountsWhatHasJustEnded(t *testing.T) {
	const still = 3 * time.Second
	began := time.Now().Add(-2 * still)
	before := Since(began)
	mu.Lock()
	set := time.Now()
	last = set.Add(-still)
	mu.Unlock()
	for range 2 {
		got, most := Since(began)-before, still+time.Since(set)
		if got < still-every || got > most {
			t.Errorf("stood still for %s, want %s to %s", got, still-every, most)
		}
	}
}
