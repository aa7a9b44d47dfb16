package engine

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// Aliases and exposed ports are in no list, so containers are inspected for
// them: each once, as long as it stays on its networks.
//
// An inspect waits for the container's lock, which the engine holds while it
// starts or stops the container, so also while it waits for us. That is why
// only containers that the list shows as running are inspected, by goroutines
// that nobody waits for, and not again soon where one did not answer: the
// request stays in the engine, waiting for the lock, after we have given up.

const (
	// inspectWait is how long one container may take, inspectors how many are
	// asked at once.
	inspectWait = 2 * time.Second
	inspectors  = 4
	// A container that did not answer, or not what was asked for, is left alone
	// for a time, which doubles from the first to the last.
	firstRest = time.Second
	lastRest  = 5 * time.Minute
)

// details are what an inspect tells.
type details struct {
	// on are the networks that it was on, by endpoint.
	on    map[string]Attachment
	ports []Port
}

// rest is how long a container is left alone.
type rest struct {
	until time.Time
	next  time.Duration
}

// inspector knows the details of running containers.
type inspector struct {
	inspect func(ctx context.Context, id string) (container.InspectResponse, error)
	// ours tells which networks matter.
	ours func(network string) bool
	log  *slog.Logger
	now  func() time.Time
	// work gets a value when there are containers to ask about, news when there
	// are answers.
	work, news chan struct{}

	mu    sync.Mutex
	known map[string]details // by container's id; guarded by mu
	rests map[string]rest    // guarded by mu
	// wanted are the containers to ask about, with where they are attached;
	// guarded by mu.
	wanted map[string][]Attachment
}

func newInspector(inspect func(context.Context, string) (container.InspectResponse, error), cfg Config) *inspector {
	ours := cfg.Ours
	if ours == nil {
		ours = func(string) bool { return true }
	}
	return &inspector{
		inspect: inspect, ours: ours, log: cfg.Log, now: time.Now,
		work: make(chan struct{}, 1), news: make(chan struct{}, 1),
		known: map[string]details{}, rests: map[string]rest{}, wanted: map[string][]Attachment{},
	}
}

// fill adds what is known to a picture, and has the rest asked for.
func (in *inspector) fill(p *Picture) {
	in.mu.Lock()
	defer in.mu.Unlock()
	now := in.now()
	there := make(map[string]struct{}, len(p.Containers))
	clear(in.wanted)
	for i := range p.Containers {
		c := &p.Containers[i]
		if !c.Running || !slices.ContainsFunc(c.On, func(a Attachment) bool { return in.ours(a.Network) }) {
			continue
		}
		there[c.ID] = struct{}{}
		if d, ok := in.known[c.ID]; ok && d.covers(c.On) {
			d.into(c)
			continue
		}
		if !in.rests[c.ID].until.After(now) {
			in.wanted[c.ID] = slices.Clone(c.On)
		}
	}
	keepOnly(in.known, there)
	keepOnly(in.rests, there)
	if len(in.wanted) > 0 {
		nudge(in.work)
	}
}

func keepOnly[V any](m map[string]V, there map[string]struct{}) {
	maps.DeleteFunc(m, func(id string, _ V) bool {
		_, ok := there[id]
		return !ok
	})
}

// wait is how long until a container is to be asked again, refresh at most.
func (in *inspector) wait() time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	wait := refresh
	for _, r := range in.rests {
		wait = min(wait, r.until.Sub(in.now()))
	}
	return max(wait, gather)
}

// covers tells whether all that the container is on now was there when it was
// inspected.
func (d details) covers(on []Attachment) bool {
	return !slices.ContainsFunc(on, func(a Attachment) bool {
		_, ok := d.on[a.Endpoint]
		return !ok
	})
}

func (d details) into(c *Container) {
	c.Known, c.Ports = true, d.ports
	for i := range c.On {
		c.On[i].Aliases = d.on[c.On[i].Endpoint].Aliases
	}
}

// run asks until ctx ends.
func (in *inspector) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-in.work:
		}
		in.mu.Lock()
		ids := slices.Collect(maps.Keys(in.wanted))
		in.mu.Unlock()
		in.askAll(ctx, ids)
	}
}

func (in *inspector) askAll(ctx context.Context, ids []string) {
	queue := make(chan string)
	var wg sync.WaitGroup
	for range min(inspectors, len(ids)) {
		wg.Go(func() {
			for id := range queue {
				in.ask(ctx, id)
			}
		})
	}
	defer wg.Wait()
	defer close(queue)
	for _, id := range ids {
		select {
		case queue <- id:
		case <-ctx.Done():
			return
		}
	}
}

func (in *inspector) ask(ctx context.Context, id string) {
	limited, cancel := context.WithTimeout(ctx, inspectWait)
	defer cancel()
	found, err := in.inspect(limited, id)
	if ctx.Err() != nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	var d details
	if err == nil {
		if d = detailsOf(&found); !d.covers(in.wanted[id]) {
			err = errors.New("it is on other networks by now")
		}
	}
	if err != nil {
		// It may be gone, or be starting or stopping.
		in.log.Debug("a container's aliases and ports are not read yet", "container", id, "error", err)
		r := in.rests[id]
		r.next = min(cmp.Or(2*r.next, firstRest), lastRest)
		r.until = in.now().Add(r.next)
		in.rests[id] = r
		return
	}
	delete(in.rests, id)
	in.known[id] = d
	nudge(in.news)
}

func detailsOf(found *container.InspectResponse) details {
	d := details{on: map[string]Attachment{}}
	if found.NetworkSettings != nil {
		for _, e := range found.NetworkSettings.Networks {
			if e != nil && e.EndpointID != "" {
				aliases := slices.DeleteFunc(slices.Sorted(slices.Values(e.Aliases)), names(found))
				d.on[e.EndpointID] = Attachment{Network: e.NetworkID, Endpoint: e.EndpointID, Aliases: slices.Compact(aliases)}
			}
		}
	}
	add := func(p network.Port) {
		d.ports = append(d.ports, Port{Number: p.Num(), Proto: string(p.Proto())})
	}
	if found.Config != nil {
		for p := range found.Config.ExposedPorts {
			add(p)
		}
	}
	if found.HostConfig != nil {
		for p := range found.HostConfig.PortBindings {
			add(p)
		}
	}
	slices.SortFunc(d.ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), strings.Compare(a.Proto, b.Proto))
	})
	d.ports = slices.Compact(d.ports)
	return d
}

// names tells which aliases only say how the container is called. Compose makes
// one of the name, and it stays when the container is renamed.
func names(found *container.InspectResponse) func(alias string) bool {
	own := []string{strings.TrimPrefix(found.Name, "/")}
	if found.Config != nil {
		l := found.Config.Labels
		if parts := []string{l[labelProject], l[labelService], l[labelNumber]}; !slices.Contains(parts, "") {
			own = append(own, strings.Join(parts, "-"), strings.Join(parts, "_"))
		}
	}
	return func(alias string) bool { return slices.Contains(own, alias) }
}

// nudge leaves a value for whoever looks next.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
