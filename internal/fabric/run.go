package fabric

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Back-off of applies that fail: quick at first, since most often the switch is
// just restarting, then slower; people wait for it all the time.
const (
	backoffMin = 20 * time.Millisecond
	backoffMax = time.Second
)

// startGrace is how long the switch may take to start before that is news.
const startGrace = 5 * time.Second

// Run makes what is wanted so until ctx ends. Ports and flows stay when it
// returns: containers outlive the plugin.
func (f *Fabric) Run(ctx context.Context) error {
	if err := f.recall(ctx); err != nil {
		return err
	}
	f.have.began = time.Now()
	var removals sync.WaitGroup
	defer removals.Wait()
	audit := time.NewTicker(f.cfg.AuditEvery)
	defer audit.Stop()
	var backoff time.Duration
	for {
		// Taken before the apply, so that a change during it is not missed.
		_, switched := f.sw.State()
		err := f.apply(ctx, &removals)
		f.finish(ctx, err)
		wait := f.due()
		switch {
		case err == nil:
			backoff = 0
		case errors.Is(err, errAgain):
			continue
		default:
			backoff = min(max(2*backoff, backoffMin), backoffMax)
			wait = backoff
		}
		if !f.pause(ctx, pause{switched: switched, audit: audit.C, wait: wait}) {
			f.farewell(ctx)
			return nil
		}
	}
}

// farewellLimit is how long the end may take: the engine gives a plugin 10 s.
const farewellLimit = 5 * time.Second

// farewell removes the links of endpoints that are over, but whose removal was
// still gathering: the next process would take them for endpoints.
func (f *Fabric) farewell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellLimit)
	defer cancel()
	links, err := f.links.List(ctx, f.cfg.Prefix)
	if err != nil {
		f.log.WarnContext(ctx, "can't read the host's links", "error", err)
		return
	}
	var over []string
	f.mu.Lock()
	for _, l := range links {
		ep, _, ours, err := parseAlias(l.Alias)
		if ours && err == nil && f.want.endpoints[ep.ID] == nil {
			over = append(over, l.Name)
		}
	}
	f.mu.Unlock()
	if err := f.links.DeleteVeth(ctx, over...); err != nil {
		f.log.WarnContext(ctx, "links of removed ports stay", "error", err)
	}
}

// errAgain asks for another apply at once: the switch gave a port another
// number than asked for.
var errAgain = errors.New("once more")

type pause struct {
	switched <-chan struct{}
	audit    <-chan time.Time
	wait     time.Duration
}

// pause waits for a reason to apply again; false when ctx ended.
func (f *Fabric) pause(ctx context.Context, p pause) bool {
	var timer <-chan time.Time
	if p.wait > 0 {
		t := time.NewTimer(p.wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-f.kick:
	case fn := <-f.asks:
		fn()
	case <-p.switched:
		f.touched.Store(true)
	case <-timer:
	case <-p.audit:
		f.have.audit = true
	}
	return true
}

// finish publishes how an apply ended.
func (f *Fabric) finish(ctx context.Context, err error) {
	if errors.Is(err, errAgain) || ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	before := f.lastErr
	f.lastErr = err
	f.shown = f.showing(err)
	close(f.changed)
	f.changed = make(chan struct{})
	f.mu.Unlock()
	switch {
	case err != nil && f.have.generation == 0 && time.Since(f.have.began) < startGrace:
		// The switch is just starting.
	case err != nil && (before == nil || before.Error() != err.Error()):
		f.have.told = true
		f.log.WarnContext(ctx, "the switch is not as wanted, trying on", "error", err)
	case err == nil && before != nil && f.have.told:
		f.have.told = false
		f.log.InfoContext(ctx, "the switch is as wanted again")
	}
}

// recall finds the endpoints of an earlier run by their links.
func (f *Fabric) recall(ctx context.Context) error {
	for backoff := backoffMin; ; backoff = min(2*backoff, backoffMax) {
		links, err := f.links.List(ctx, f.cfg.Prefix)
		if err == nil {
			f.mu.Lock()
			f.recallLocked(ctx, links)
			f.mu.Unlock()
			close(f.recalled)
			return nil
		}
		f.log.WarnContext(ctx, "can't read the host's links", "error", err)
		t := time.NewTimer(backoff)
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("read the host's links: %w", ctx.Err())
		case <-t.C:
		}
	}
}

// recallLocked makes endpoints of links. Of two with one address in a network
// only one is real: a container's new endpoint comes before the old one's link
// goes (DeleteDelay), and whoever ended in between left both. That is the one
// in a container, else the later one; the other's link is then a stray.
func (f *Fabric) recallLocked(ctx context.Context, links []Link) {
	links = slices.Clone(links)
	slices.SortFunc(links, func(a, b Link) int {
		if a.PeerElsewhere != b.PeerElsewhere {
			if a.PeerElsewhere {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Index, a.Index)
	})
	type place struct {
		network string
		addr    netip.Addr
	}
	taken := map[place]bool{}
	for _, l := range links {
		ep, vni, ours, err := parseAlias(l.Alias)
		if !ours {
			continue
		}
		if err != nil || f.cfg.portName(ep.ID) != l.Name {
			f.log.WarnContext(ctx, "a link of ours can't be read and will be removed", "name", l.Name, "error", err)
			continue
		}
		if slices.ContainsFunc(ep.Addrs, func(a netip.Addr) bool { return taken[place{ep.Network, a}] }) {
			f.log.InfoContext(ctx, "an endpoint from before has a successor", "endpoint", ep.ID, "network", ep.Network)
			continue
		}
		for _, a := range ep.Addrs {
			taken[place{ep.Network, a}] = true
		}
		f.want.endpoints[ep.ID] = &endpoint{Endpoint: ep, vni: vni, port: l.Name, linked: true}
	}
}
