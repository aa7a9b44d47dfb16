package stall

import (
	"testing"
	"time"
)

func TestSinceCountsWhatIsAfter(t *testing.T) {
	at := func(s int) time.Time { return time.Now().Add(time.Hour + time.Duration(s)*time.Second) }
	mu.Lock()
	seen = append(seen, span{at(0), at(3)}, span{at(10), at(11)})
	mu.Unlock()
	for began, want := range map[int]time.Duration{-5: 4, 0: 4, 2: 2, 5: 1, 10: 1, 12: 0} {
		if got := Since(at(began)).Round(time.Second); got != want*time.Second {
			t.Errorf("since %d: %s, want %ds", began, got, want)
		}
	}
}
