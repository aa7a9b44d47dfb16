package consistency

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

// makeNetwork makes a network on the pool, as the engine does.
func (h *host) makeNetwork(ctx context.Context, p testPool) error {
	reg := h.proc.reg
	if _, err := reg.RequestPool(ctx, ipam.PoolRequest{Subnet: p.subnet}); err != nil {
		return err
	}
	if _, err := reg.RequestGateway(ctx, p.id, netip.Addr{}); err != nil {
		return err
	}
	_, err := reg.Bind(ctx, ipam.Binding{Network: h.network(p), Pools: []string{p.id}, DefaultMTU: 1450})
	return err
}

// work is what happens on the host until ctx ends.
func (h *host) work(ctx context.Context, rng *rand.Rand, pools []testPool) {
	for ctx.Err() == nil {
		if h.act(context.WithoutCancel(ctx), rng, pools) {
			wait(ctx, time.Duration(rng.Int64N(int64(h.w.pause))))
		} else {
			wait(ctx, time.Duration(rng.Int64N(5*int64(h.w.pause))))
		}
	}
}

// act does one thing, and tells whether it worked.
func (h *host) act(ctx context.Context, rng *rand.Rand, pools []testPool) bool {
	h.ops.RLock()
	defer h.ops.RUnlock()
	pool := pools[rng.IntN(len(pools))]
	name := pool.names[rng.IntN(len(pool.names))]
	var addr netip.Addr
	if rng.IntN(5) == 0 {
		addr = pool.some(rng)
	}
	switch n := rng.IntN(100); {
	case n < 45:
		if c := h.takes(pool, name); c != nil {
			return h.start(ctx, c, addr)
		}
	case n < 86:
		if c := h.running(rng.IntN(100)); c != nil {
			ok := h.stop(ctx, c)
			if rng.IntN(3) > 0 {
				h.forget(c)
				return ok
			}
			return h.start(ctx, c, netip.Addr{})
		}
	case n < 90:
		return h.operate(ctx, rng, pool)
	case n < 93:
		// The engine lost a container, and starts it again without more ado.
		if c := h.running(rng.IntN(100)); c != nil {
			_ = h.proc.reg.Detach(ctx, c.link)
			return h.start(ctx, c, netip.Addr{})
		}
	case n < 96:
		return nil == h.record(h.proc, event{kind: reserves, pool: pool.id, name: name, addr: addr}, func() (netip.Prefix, error) {
			return h.proc.reg.Reserve(ctx, pool.id, name, addr)
		})
	default:
		return nil == h.record(h.proc, event{kind: unreserves, pool: pool.id, name: name}, func() (netip.Prefix, error) {
			return netip.Prefix{}, h.proc.reg.Unreserve(ctx, pool.id, name)
		})
	}
	return true
}

// operate is an operator's word about names.
func (h *host) operate(ctx context.Context, rng *rand.Rand, pool testPool) bool {
	reg := h.proc.reg
	one := pool.names[rng.IntN(len(pool.names))]
	switch rng.IntN(4) {
	case 0:
		return nil == h.recordAll(h.proc, []event{{kind: releases, pool: pool.id, name: one}}, func() error {
			return reg.Release(ctx, one, pool.id)
		})
	case 1:
		to := pool.names[rng.IntN(len(pool.names))]
		return nil == h.recordAll(h.proc, []event{{kind: releases, pool: pool.id, name: one}, {kind: comes, pool: pool.id, name: to}}, func() error {
			return reg.RenameLease(ctx, one, to, pool.id)
		})
	}
	var all []event
	var in ipam.Import
	for range 1 + rng.IntN(3) {
		name, addr := pool.names[rng.IntN(len(pool.names))], pool.some(rng)
		if slices.ContainsFunc(all, func(e event) bool { return e.name == name }) {
			continue
		}
		all = append(all, event{kind: imports, pool: pool.id, name: name, addr: addr})
		in.Reservations = append(in.Reservations, ipam.Reservation{Pool: pool.id, Name: name, Addr: addr})
	}
	return nil == h.recordAll(h.proc, all, func() error {
		_, err := reg.Import(ctx, in)
		return err
	})
}

// some is an address that a container may have.
func (p testPool) some(rng *rand.Rand) netip.Addr {
	raw := p.subnet.Addr().As4()
	raw[3] = byte(2 + rng.IntN(1<<(32-p.subnet.Bits())-3))
	return netip.AddrFrom4(raw)
}

// start starts the container, or forgets it.
func (h *host) start(ctx context.Context, c *container, addr netip.Addr) bool {
	p := h.proc
	err := h.record(p, event{kind: starts, pool: c.pool.id, name: c.name, addr: addr}, func() (netip.Prefix, error) {
		got, err := p.reg.RequestAddress(ctx, ipam.AddressRequest{Pool: c.pool.id, Name: c.name, Addr: addr})
		if err == nil {
			h.mu.Lock()
			c.addr = got.Addr()
			h.mu.Unlock()
		}
		return got, err
	})
	if err != nil {
		h.forget(c)
		return false
	}
	link := fmt.Sprintf("%s-%s-%d", h.id, c.name, h.serial.Add(1))
	h.mu.Lock()
	delete(h.links, c.link)
	h.links[link] = true
	h.mu.Unlock()
	if _, err := p.reg.Attach(ctx, ipam.Endpoint{ID: link, Network: h.network(c.pool), Addrs: []netip.Addr{c.addr}}); err != nil {
		h.w.count("attach refused")
		h.mu.Lock()
		delete(h.links, link)
		h.mu.Unlock()
		h.release(ctx, c)
		h.forget(c)
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c.link, c.busy = link, false
	return true
}

// stop stops the container, which nobody else may.
func (h *host) stop(ctx context.Context, c *container) bool {
	_ = h.proc.reg.Detach(ctx, c.link)
	ok := h.release(ctx, c)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.links, c.link)
	c.link = ""
	return ok
}

func (h *host) release(ctx context.Context, c *container) bool {
	return nil == h.record(h.proc, event{kind: stops, pool: c.pool.id, name: c.name, addr: c.addr}, func() (netip.Prefix, error) {
		return netip.Prefix{}, h.proc.reg.ReleaseAddress(ctx, c.pool.id, c.addr)
	})
}

// clear stops all containers and removes the networks.
func (h *host) clear(ctx context.Context, pools []testPool) {
	h.w.t.Helper()
	for c := h.running(0); c != nil; c = h.running(0) {
		h.stop(ctx, c)
		h.forget(c)
	}
	for _, p := range pools {
		h.w.ok(h.proc.reg.ReleasePool(ctx, p.id))
		h.w.ok(h.proc.reg.Unbind(ctx, h.network(p)))
	}
}
