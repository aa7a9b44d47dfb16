package ipam

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// placeholderMark stands between a name and the beginning of an endpoint's id
// in the names that we make up. Docker allows it in no container's name.
const placeholderMark = "~"

// RequestAddress gives a name its address: the one it had, or the one that
// the user fixed, or one that no name holds.
func (r *Registry) RequestAddress(ctx context.Context, req AddressRequest) (netip.Prefix, error) {
	if err := checkName(req.Name); err != nil {
		return netip.Prefix{}, err
	}
	var out netip.Prefix
	err := r.change(ctx, func(t *tx) error {
		p, err := t.pool(req.Pool)
		if err != nil {
			return err
		}
		if err := t.notVirtual(p, req.Name, "give the container another name"); err != nil {
			return err
		}
		name := r.keyName(p, req.Name)
		var l *lease
		switch {
		case req.Addr.IsValid():
			l, err = t.fixed(p, name, req.Addr)
		case req.Name == "":
			return fmt.Errorf("%w: the engine did not say which container wants an address in %s; that takes Docker Engine 29.0.3 or newer. Upgrade it, or give the container an address with --ip",
				ErrNoName, &p.rec)
		default:
			l, err = t.dynamic(p, name)
		}
		if err != nil {
			return err
		}
		out = p.prefix(l.addr)
		return nil
	})
	if err != nil {
		return netip.Prefix{}, err // not one that was decided on, and undone
	}
	return out, nil
}

// here tells why the name can't run on this host, if so: it runs on another.
func (t *tx) here(l *lease) error {
	if l == nil || !t.elsewhere(l) {
		return nil
	}
	t.doubt(leaseKey(l.pool.id, l.name))
	return fmt.Errorf("%w: container %q has %s in %s on host %s since %s; stop it there (docker stop %s), or give this one another name; "+
		"if that host is dead, its names are free within 15 seconds (a minute after dockstack was stopped there in order)",
		ErrElsewhere, l.container(), l.addr, &l.pool.rec, t.r.hostName(l.host), l.at().UTC().Format(time.RFC3339), l.container())
}

// hold says that a container of l's name asked for l and gets it.
func (t *tx) hold(l *lease, fixed bool) *lease {
	held := t.change(l, func(c *lease) {
		if c.asked = t.now.UnixMilli(); !c.live || c.host != me {
			c.since = c.asked
		}
		c.live, c.fixed, c.host = true, fixed, me
		c.endpoint, c.unsure = "", false
	})
	if t.r.shared() {
		// Also where it is live here already, and nothing is to be written: the
		// mark may have been gone, and be back sooner than the news of who took
		// the name meanwhile. What was decided alone is written first.
		key := leaseKey(l.pool.id, l.name)
		if t.r.isBehind(key) {
			t.write(key)
			t.bringLate(held)
		}
		t.guard(key)
		t.guardOwnMark()
	}
	return held
}

// dynamic gives the name the lease that it has, or a new one.
func (t *tx) dynamic(p *pool, name string) (*lease, error) {
	old := p.names[name]
	if err := t.here(old); err != nil {
		return nil, err
	}
	if old != nil && t.renamedAway(old) {
		t.setApart(old)
		old = nil
	}
	if old != nil {
		why := p.rec.setAside(old.addr)
		if why == "" {
			return t.hold(old, false), nil
		}
		t.drop(old)
		t.warn("a name loses its address because the network has another use for it",
			slog.String("network", p.rec.network()), slog.String("name", name), slog.String("addr", old.addr.String()), slog.String("use", why))
	}
	addr, err := t.allocate(p, name)
	if err != nil {
		return nil, err
	}
	return t.hold(&lease{pool: p, name: name, addr: addr, reserved: old != nil && old.reserved}, false), nil
}

// fixed gives the name the address that the user named.
func (t *tx) fixed(p *pool, name string, addr netip.Addr) (*lease, error) {
	if err := t.usable(p, addr); err != nil {
		return nil, err
	}
	holder := p.addrs[addr]
	if name == "" {
		// An engine that sends no name: whoever had the address has it again.
		name = "unnamed:" + addr.String()
		if holder != nil && !t.held(holder) {
			name = holder.name
		}
	}
	own := p.names[name]
	if err := t.here(own); err != nil {
		return nil, err
	}
	if own != nil && t.renamedAway(own) {
		t.setApart(own)
		own, holder = nil, p.addrs[addr]
	}
	if holder != nil && holder != own {
		if err := t.takeFrom(holder, name); err != nil {
			return nil, err
		}
	}
	if own == nil {
		return t.hold(&lease{pool: p, name: name, addr: addr}, true), nil
	}
	if own.addr != addr {
		own = t.change(own, func(c *lease) {
			c.addr = addr
			if !c.macByUser {
				c.mac = mac{}
			}
		})
	}
	return t.hold(own, true), nil
}

// usable refuses addresses that no container may have.
func (t *tx) usable(p *pool, addr netip.Addr) error {
	if !p.rec.Subnet.Contains(addr) {
		return fmt.Errorf("%w: %s is not in %s; choose one of %s", ErrOutsidePool, addr, &p.rec, p.rec.Subnet)
	}
	why := p.rec.setAside(addr)
	if why == "" {
		return nil
	}
	kind := ErrAddressTaken
	if notHost(p.rec.Subnet, addr) != "" {
		kind = ErrNotUsable
	}
	return fmt.Errorf("%w: %s in %s is %s; choose another", kind, addr, &p.rec, why)
}

// takeFrom makes holder give up its address for name, where it may.
func (t *tx) takeFrom(holder *lease, name string) error {
	rec := &holder.pool.rec
	if t.held(holder) {
		t.doubt(leaseKey(holder.pool.id, holder.name))
		where := ""
		if holder.host != me {
			where = " on host " + t.r.hostName(holder.host)
		}
		return fmt.Errorf("%w: %s in %s is held by %s, which runs%s; stop that one, or choose another address for %q",
			ErrAddressTaken, holder.addr, rec, holder.who(), where, name)
	}
	if holder.reserved {
		t.doubt(leaseKey(holder.pool.id, holder.name))
		return fmt.Errorf("%w: %s in %s is reserved for %q; choose another address for %q, or take the reservation back",
			ErrAddressTaken, holder.addr, rec, holder.name, name)
	}
	t.drop(holder)
	t.warn("a parked name loses its address to one that asks for it by number; its next start gets another",
		slog.String("network", rec.network()), slog.String("name", holder.name), slog.String("addr", holder.addr.String()), slog.String("to", name))
	return nil
}

// renamedAway tells whether the lease belongs to a container that runs on
// under another name. Names are unique on an engine, so when one that has an
// address asks for it again while its endpoint still sits in a container,
// that container was renamed and this is a new one under its old name.
func (t *tx) renamedAway(l *lease) bool {
	return l.live && l.host == me && l.endpoint != "" && t.r.cfg.Alive != nil && t.r.cfg.Alive(l.endpoint)
}

// setApart leaves the lease to the running endpoint, under a name made up
// until Rename tells the real one.
func (t *tx) setApart(l *lease) {
	t.drop(l)
	c := *l
	c.name = l.name + placeholderMark + short(l.endpoint)
	c.reserved = false
	t.put(&c)
	t.warn("a container that was renamed while it runs keeps its address; the new one under its old name gets another",
		slog.String("network", l.pool.rec.network()), slog.String("name", l.container()), slog.String("addr", l.addr.String()), slog.String("endpoint", short(l.endpoint)))
}
