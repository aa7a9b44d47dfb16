package fabric

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// sweep compares the host's links with what is wanted: endpoints whose link is
// gone lose their port, links of ours that nobody wants are removed, gateways
// that somebody removed are made again, links that somebody set down are noted.
func (f *Fabric) sweep(ctx context.Context, seats []seat, told bool) error {
	links, err := f.links.List(ctx, f.cfg.Prefix)
	if err != nil {
		return fmt.Errorf("read the host's links: %w", err)
	}
	byName := make(map[string]Link, len(links))
	for _, l := range links {
		byName[l.Name] = l
	}
	f.mu.Lock()
	f.missLocked(ctx, seats, byName)
	stray := f.strayLocked(links, told)
	f.mu.Unlock()
	f.missDevices(byName)
	if err := f.noteFallen(ctx, seats, byName); err != nil {
		return err
	}
	f.have.tunnels.noteIndex(links)
	for _, s := range seats {
		if _, there := byName[s.port]; s.endpoint.ID == "" && !there {
			// A port whose link was made anew under its name is dead: make both.
			delete(f.have.gates, s.network.ID)
			f.have.reopen(s.port)
		}
	}
	for _, l := range stray {
		// With a port, its removal takes the link along.
		if _, there := f.have.ports[l.Name]; there {
			continue
		}
		f.log.InfoContext(ctx, "removing a link that no endpoint has", "name", l.Name)
		if err := f.removeStray(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// reopen removes and adds a port again, because its link was made anew.
func (h *have) reopen(name string) {
	if _, there := h.ports[name]; there {
		if h.dead == nil {
			h.dead = map[string]bool{}
		}
		h.dead[name] = true
	}
}

// missLocked looks after endpoints without a link or without a container. The
// links were listed after the snapshot: one that was made since then may be
// missing there.
func (f *Fabric) missLocked(ctx context.Context, seats []seat, links map[string]Link) {
	now := time.Now()
	made := make(map[string]int, len(seats))
	for _, s := range seats {
		made[s.endpoint.ID] = s.made
	}
	for id, ep := range f.want.endpoints {
		l, there := links[ep.port]
		before, known := made[id]
		switch {
		case !there && (!ep.linked || !known || before != ep.made):
			// Its veth is about to be made, or was made meanwhile.
		case !there && !ep.claimed:
			f.log.InfoContext(ctx, "sweeping an endpoint whose container is gone", "endpoint", id, "network", ep.Network)
			delete(f.want.endpoints, id)
		case !there:
			// The engine will say that it's over, or ask for it again.
			ep.linked, ep.settled = false, 0
		case ep.claimed || l.PeerElsewhere:
			ep.lonely = time.Time{}
		case ep.lonely.IsZero():
			ep.lonely = now
		case now.Sub(ep.lonely) > f.cfg.StaleAfter:
			f.log.InfoContext(ctx, "sweeping an endpoint that no container took", "endpoint", id, "network", ep.Network)
			delete(f.want.endpoints, id)
		}
	}
}

// strayLocked returns links with our mark that nobody wants. Gateways of
// networks that were never put stay while none was, and tunnels while no
// underlay was told: without a store nothing is known, and nothing is touched.
func (f *Fabric) strayLocked(links []Link, told bool) []Link {
	wanted := map[string]bool{}
	for _, ep := range f.want.endpoints {
		wanted[ep.port] = true
	}
	for id := range f.want.networks {
		wanted[f.cfg.gateName(id)] = true
	}
	for _, d := range f.have.tunnels.devices {
		wanted[d.Name] = true
	}
	var stray []Link
	for _, l := range links {
		_, gateway := parseGatewayAlias(l.Alias)
		_, tunnel := parseTunnelAlias(l.Alias)
		_, busy := f.deleting[l.Name]
		switch {
		case wanted[l.Name], busy, !strings.HasPrefix(l.Alias, aliasMark):
		case gateway && !f.want.had, tunnel && !told:
		default:
			stray = append(stray, l)
		}
	}
	return stray
}

func (f *Fabric) removeStray(ctx context.Context, l Link) error {
	remove := func() error { return f.links.DeleteVeth(ctx, l.Name) }
	if _, gateway := parseGatewayAlias(l.Alias); gateway {
		remove = func() error { return f.links.RemoveGateway(ctx, l.Name) }
	}
	if _, tunnel := parseTunnelAlias(l.Alias); tunnel {
		remove = func() error { return f.links.RemoveVXLAN(ctx, l.Name) }
	}
	if err := remove(); err != nil {
		return fmt.Errorf("remove the stray link %s: %w", l.Name, err)
	}
	return nil
}
