package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// tracker notes when news arrived at many hosts.
type tracker struct {
	mu sync.Mutex
	at map[string][]time.Time // guarded by mu
	// on is whether news count: what hosts learn at their start doesn't.
	on   bool          // guarded by mu
	wake chan struct{} // guarded by mu
}

func newTracker() *tracker { return &tracker{at: map[string][]time.Time{}, wake: make(chan struct{})} }

func (t *tracker) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.on = true
}

// saw notes that one more host has the news.
func (t *tracker) saw(what string) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.on {
		return
	}
	t.at[what] = append(t.at[what], now)
	close(t.wake)
	t.wake = make(chan struct{})
}

// await returns how long after began each of n hosts had the news.
func (t *tracker) await(what string, n int, began time.Time) ([]time.Duration, error) {
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for {
		t.mu.Lock()
		have, wake := t.at[what], t.wake
		if len(have) >= n {
			delete(t.at, what)
		}
		t.mu.Unlock()
		if len(have) >= n {
			out := make([]time.Duration, n)
			for i := range out {
				out[i] = have[i].Sub(began)
			}
			slices.Sort(out)
			return out, nil
		}
		select {
		case <-wake:
		case <-limit.C:
			return nil, fmt.Errorf("after 30 s %d of %d hosts know of %s", len(have), n, what)
		}
	}
}

// times are many durations.
type times []time.Duration

// at is the q-th part of them, 0 to 1.
func (t times) at(q float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(t))
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
