// Package stall says how long a test's process stood still, because the machine
// did or had other work. A limit on what dockstack may take must not count that.
package stall

import (
	"sync"
	"time"
)

// every is how often the process looks at the clock.
const every = 10 * time.Millisecond

var (
	mu   sync.Mutex
	last = time.Now() // when the process looked
	seen []span
)

// span is when the process had no time to look, of the time until it did.
type span struct {
	from, to time.Time
}

func init() { watch() }

// watch looks again and again: by a timer, since tests that look for goroutines
// left over would find one that watches.
func watch() {
	time.AfterFunc(every, func() {
		mu.Lock()
		look()
		mu.Unlock()
		watch()
	})
}

// look notes whether the process had no time since it looked last.
func look() {
	now := time.Now()
	if now.Sub(last) > 2*every {
		seen = append(seen, span{last.Add(every), now})
	}
	last = now
}

// Since is how much of the time since began the process stood still.
func Since(began time.Time) time.Duration {
	mu.Lock()
	defer mu.Unlock()
	look() // whoever asks may have woken before the timer did
	var sum time.Duration
	for _, s := range seen {
		if s.to.After(began) {
			sum += min(s.to.Sub(s.from), s.to.Sub(began))
		}
	}
	return sum
}

// Took is how long something that began then has taken, without that.
func Took(began time.Time) time.Duration { return time.Since(began) - Since(began) }
