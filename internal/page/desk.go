package page

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

const (
	// freshFor is how long a picture is good: however many look, the daemon is
	// asked once a second.
	freshFor = time.Second
	// askFor bounds what a request asks of the daemon, and countFor the counting
	// of leases: a store that is not there makes both wait.
	askFor   = 10 * time.Second
	countFor = 3 * time.Second
	// countAgain is the pause after it failed.
	countAgain = 5 * time.Second
	// restFor times as long as counting the leases took it is not done again, so
	// that 100,000 of them that change all the time cost a twentieth of a core, however many look.
	// A machine that stood still while they were counted must not make it longer
	// than maxRest.
	restFor = 20
	maxRest = 10 * time.Second
)

var errStoreClosed = errors.New("names and addresses can't be read while the store is not used")

// picture is what was known at one moment. Nobody changes it.
type picture struct {
	At     time.Time
	Status admin.Status
	// census is what was counted last, nil where it never was; Unread is why it
	// could not be counted now.
	census  *census
	Unread  error
	events  []admin.Event // the oldest first
	samples []admin.DNSSample
	// mark differs where leases, pools or hosts may.
	mark uint64
}

// desk asks the daemon for all who look.
type desk struct {
	src Source
	// watching is how many streams are open.
	watching func() int64

	mu      sync.Mutex
	last    *picture // guarded by mu, like what follows
	events  []admin.Event
	counted time.Time // when the leases were counted
	took    time.Duration
}

// look is how things stand, at most a second old.
func (d *desk) look(ctx context.Context) *picture {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != nil && time.Since(d.last.At) < freshFor {
		return d.last
	}
	// Whoever asked first may go away; the others want to know all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askFor)
	defer cancel()
	d.last = d.askLocked(ctx)
	return d.last
}

func (d *desk) askLocked(ctx context.Context) *picture {
	p := &picture{At: time.Now(), Status: d.src.Status(ctx), events: d.events, samples: d.src.Samples()}
	cleanStatus(&p.Status)
	p.mark = marked(p.Status, p.events)
	if p.Status.Store.Closed != "" {
		p.Unread = errStoreClosed
		return p
	}
	if old := d.last; old != nil {
		p.census = old.census
		if old.Unread != nil && time.Since(d.counted) < countAgain {
			p.Unread = old.Unread
			return p
		}
		resting := time.Since(d.counted) < min(maxRest, restFor*d.took*time.Duration(max(1, d.watching())))
		if old.Unread == nil && (old.mark == p.mark || resting) {
			p.mark = old.mark // what is left out now is counted later
			return p
		}
	}
	ctx, cancel := context.WithTimeout(ctx, countFor)
	defer cancel()
	began := time.Now()
	c, err := takeCensus(ctx, d.src, p.Status)
	d.took, d.counted = time.Since(began), time.Now()
	if err != nil {
		p.Unread = errors.New("names and addresses can't be read now: " + clean(err.Error()))
		return p
	}
	p.census = c
	return p
}

// follow keeps the last events until ctx ends.
func (d *desk) follow(ctx context.Context) {
	var last uint64
	for ctx.Err() == nil {
		w := d.src.Watch(last)
		for {
			fresh, err := w.Next(ctx)
			if err != nil {
				break
			}
			for i := range fresh {
				last = fresh[i].Seq
				fresh[i].Text = clean(fresh[i].Text)
			}
			d.mu.Lock()
			all := slices.Concat(d.events, fresh)
			d.events = all[max(0, len(all)-maxEvents):]
			d.mu.Unlock()
		}
		w.Close()
		_ = wait(ctx, time.Second)
	}
}

// wait pauses, unless ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// marked is a number that differs where what the census counts may.
func marked(s admin.Status, events []admin.Event) uint64 {
	h := fnv.New64a()
	for _, p := range s.Pools {
		_, _ = fmt.Fprintf(h, "%s|%s|%v|%d|%d|%d|%d|%v|%v\n", p.ID, p.Network, p.Gateway, p.Live, p.Parked, p.Reserved, p.Free, p.InUse, p.Excluded)
	}
	for _, host := range s.Hosts {
		_, _ = fmt.Fprintf(h, "%s|%s\n", host.ID, host.Name)
	}
	if len(events) > 0 {
		_, _ = fmt.Fprintf(h, "%d", events[len(events)-1].Seq)
	}
	return h.Sum64()
}
