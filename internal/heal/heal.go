// Package heal brings containers back that share another's network namespace
// (`network_mode: service:nova`) when that container, their owner, restarted.
//
// A namespace ends with its owner's process. Docker starts the owner in a new
// one and leaves its members in the old, where there is only lo: they run, look
// healthy, and nobody reaches them. And a member whose own start the engine
// tried while the owner was down, as at a boot, stays down: the engine does not
// try again, whatever the restart policy says.
//
// So for every owner on a network of ours that runs: a member that has run since
// before its owner's start is restarted, and one whose last start failed for want
// of the owner is started. That is done for members with a restart policy, whose
// user asked for them to be kept running. What a person stopped bears no error of
// a start, and stays stopped. Each owner's members are treated once for each of
// its starts, and more and more rarely while it crashes soon after each.
//
// And a container on a network of ours whose start failed because dockstack did
// not answer, since it was killed or off, stays down as well. It is started, once
// dockstack serves. From one whose start failed at its last call, Join, the engine
// takes the network; it is connected again. See absent.
//
// Nothing waits for any of this: it is told what the engine lists, and asks and
// acts by itself.
package heal

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/engine"
)

// Label on a member, an owner or any container is "off" for those that are to be
// left alone, and "on" for those that are to be healed although they have no
// restart policy.
const Label = "dockstack.heal"

// Engine looks at containers and starts them. It is safe for concurrent use.
type Engine interface {
	List(ctx context.Context) (engine.Picture, error)
	Inspect(ctx context.Context, id string) (engine.Life, error)
	Restart(ctx context.Context, id string, grace time.Duration) error
	Start(ctx context.Context, id string) error
	Connect(ctx context.Context, id, network string, aliases []string) error
}

var _ Engine = (*engine.Hands)(nil)

// Config is what a Healer needs.
type Config struct {
	Engine Engine
	// Ours tells whether a network is one of dockstack's.
	Ours func(network string) bool
	// Off: it only finds, and touches nothing.
	Off bool
	// Done is told of what was done; err is why it failed.
	Done func(c Case, err error)
	Log  *slog.Logger
}

const (
	// settle is how long an owner must be up: who restarts a whole group by hand
	// has then begun with its members too.
	settle = time.Second
	// An owner's members are treated no sooner than this after the last time,
	// which doubles from the first to the last as long as the owner's runs are
	// shorter than steady, or a treatment fails.
	firstGap = 3 * time.Second
	lastGap  = 5 * time.Minute
	steady   = 30 * time.Second
	// orphaned is how long a member may be without its owner before that is
	// told: compose makes both anew, one after the other.
	orphaned = 30 * time.Second
	// A group that could not be looked at is looked at again after this, doubled
	// each time.
	firstRetry = time.Second
	lastRetry  = time.Minute
	// groups is how many are looked at, hands how many containers are treated at
	// once.
	groups = 4
	hands  = 4
)

// Healer heals one engine's containers.
type Healer struct {
	cfg Config
	now func() time.Time
	// work gets a value when there is a new picture, or a group was treated.
	work chan struct{}
	// look and act have a place for each that is done at once.
	look, act chan struct{}

	mu sync.Mutex
	// latest are the groups on networks of ours, by their owner's id; guarded by mu.
	latest map[string]group
	// patients are the owners' histories; guarded by mu, and their content by
	// whoever set busy.
	patients map[string]*patient
	// shared are the names of their owners, by ids of members, and lost are the
	// members that have none any more; guarded by mu.
	shared map[string]string
	lost   map[string]loss
	// absent are the starts that failed because dockstack was away; guarded by mu.
	absent absent
	// warned are the cases that the log has; guarded by mu.
	warned map[Case]struct{}
}

// loss is that a member's owner was removed.
type loss struct {
	since         time.Time
	member, owner string
}

// New makes one; Run begins.
func New(cfg Config) *Healer {
	return &Healer{
		cfg: cfg, now: time.Now, work: make(chan struct{}, 1),
		look: make(chan struct{}, groups), act: make(chan struct{}, hands),
		latest: map[string]group{}, patients: map[string]*patient{},
		shared: map[string]string{}, lost: map[string]loss{}, warned: map[Case]struct{}{},
		absent: absent{known: map[string]*failure{}, given: map[string]bool{}},
	}
}

// Observe takes what the engine lists now. It does not wait.
func (h *Healer) Observe(p engine.Picture) {
	found := groupsOf(p)
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, g := range found {
		// While an owner is down it is on no network; what it was on stays known.
		if _, known := h.patients[id]; !known && !attached(p, &g.owner, h.cfg.Ours) {
			delete(found, id)
		}
	}
	h.latest = found
	h.orphans(p)
	h.absent.observe(p)
	for id := range h.patients {
		if _, ok := found[id]; !ok && !h.patients[id].busy {
			delete(h.patients, id)
		}
	}
	h.nudge()
}

// orphans notes which members lost their owner for good; mu is held.
func (h *Healer) orphans(p engine.Picture) {
	there := make(map[string]*engine.Container, len(p.Containers))
	for i := range p.Containers {
		there[p.Containers[i].ID] = &p.Containers[i]
	}
	for _, g := range h.latest {
		for _, m := range g.members {
			h.shared[m.ID] = g.owner.Name
		}
	}
	for id, owner := range h.shared {
		switch c := there[id]; {
		case c == nil:
			delete(h.shared, id)
			delete(h.lost, id)
		case !c.Running || find(p, c.Shares) != nil:
			delete(h.lost, id)
		default:
			if _, known := h.lost[id]; !known {
				h.lost[id] = loss{since: h.now(), member: c.Name, owner: owner}
			}
		}
	}
}

// Cases are the members that have no network now, and the containers that could
// not start, and are not going to be healed.
func (h *Healer) Cases() []Case {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Case
	for id := range h.latest {
		if p := h.patients[id]; p != nil {
			out = append(out, p.told...)
		}
	}
	for _, l := range h.lost {
		if h.now().Sub(l.since) >= orphaned {
			out = append(out, Case{Member: l.member, Owner: l.owner, Kind: Orphan})
		}
	}
	out = append(out, h.absent.cases()...)
	slices.SortFunc(out, func(a, b Case) int { return strings.Compare(a.Member, b.Member) })
	return out
}

func (h *Healer) nudge() {
	select {
	case h.work <- struct{}{}:
	default:
	}
}

// Run heals until ctx ends.
func (h *Healer) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		wait := h.begin(func(g group, p *patient) {
			wg.Go(func() { h.visit(ctx, g, p) })
		})
		wait = min(wait, h.seek(func(down []engine.Container, all bool) {
			wg.Go(func() { h.revive(ctx, down, all) })
		}))
		h.warn()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-h.work:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// begin has every group visited that may need it, and returns how long until
// the next does.
func (h *Healer) begin(visit func(group, *patient)) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, wait := h.now(), time.Minute
	for id, g := range h.latest {
		p := h.patients[id]
		if p == nil {
			p = &patient{healed: map[string]time.Time{}, well: map[string]pair{}, owed: map[string]struct{}{}}
			h.patients[id] = p
		}
		if p.busy {
			continue
		}
		if p.sign == g.sign {
			if p.at.IsZero() {
				continue
			}
			if p.at.After(now) {
				wait = min(wait, p.at.Sub(now))
				continue
			}
		}
		p.sign, p.busy = g.sign, true
		visit(g, p)
	}
	return wait
}

// visit looks at one group and treats it.
func (h *Healer) visit(ctx context.Context, g group, p *patient) {
	told := h.treat(ctx, g, p)
	h.mu.Lock()
	defer h.mu.Unlock()
	p.busy, p.told = false, told
	h.nudge()
}

// warn has the log say each case once.
func (h *Healer) warn() {
	now := map[Case]struct{}{}
	for _, c := range h.Cases() {
		now[c] = struct{}{}
	}
	h.mu.Lock()
	was := h.warned
	h.warned = now
	h.mu.Unlock()
	for _, c := range slices.SortedFunc(maps.Keys(now), func(a, b Case) int { return strings.Compare(a.Member, b.Member) }) {
		if _, said := was[c]; !said {
			h.cfg.Log.Warn("a container is without a network, or down", "container", c.Member, "owner", c.Owner, "why", c.What(), "mend", c.Command())
		}
	}
}
