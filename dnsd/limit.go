package dnsd

import (
	"fmt"
	"net/netip"
)

const (
	defaultMaxForwardPerClient = 64
	// mergedShare is how many queries may wait for each that is in flight, on
	// average: those that ask the same wait together.
	mergedShare = 8
	// clientBits is the part of an IPv6 address that makes a client: whoever has
	// one address of a /64 usually has them all.
	clientBits = 64
)

// clientOf is what limits know addr's client by.
func clientOf(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("")
	if addr.Is6() && !addr.Is4In6() {
		p, err := addr.Prefix(clientBits)
		if err == nil {
			return p.Addr()
		}
	}
	return addr.Unmap()
}

// isHost tells whether addr is this host: by it also come the queries of all
// containers whose own resolver asks us over loopback, so a limit for one
// client would be one for all of them.
func (a *access) isHost(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	_, ok := (*a.own.Load())[addr.WithZone("")]
	return ok
}

// passage bounds the queries that wait for resolvers: in all, of one client,
// and of this host, which leaves a quarter to the clients that come by
// themselves. Whoever has it must hold a lock.
type passage struct {
	// flights and waiting are the bounds in all, client that of one client.
	flights, waiting, client int

	flying, flyingHost int
	waits, waitsHost   int
	byClient           map[netip.Addr]int
}

func newPassage(flights, client int) passage {
	return passage{flights: flights, waiting: flights * mergedShare, client: client, byClient: map[netip.Addr]int{}}
}

// enter takes up one more who waits, or tells why not.
func (p *passage) enter(client netip.Addr, host bool) error {
	if p.waits >= p.waiting || host && p.waitsHost >= p.waiting-p.waiting/4 {
		return errTooMany
	}
	if host {
		p.waitsHost++
	} else {
		c := clientOf(client)
		if p.byClient[c] >= p.client {
			return fmt.Errorf("%w (%d)", errTooManyOfClient, p.client)
		}
		p.byClient[c]++
	}
	p.waits++
	return nil
}

// leave is the end of enter.
func (p *passage) leave(client netip.Addr, host bool) {
	p.waits--
	if host {
		p.waitsHost--
		return
	}
	c := clientOf(client)
	if p.byClient[c]--; p.byClient[c] <= 0 {
		delete(p.byClient, c)
	}
}

// depart is enter for one whose question nobody else asked yet: one more is in
// flight.
func (p *passage) depart(client netip.Addr, host bool) error {
	if p.flying >= p.flights || host && p.flyingHost >= p.flights-p.flights/4 {
		return errTooMany
	}
	if err := p.enter(client, host); err != nil {
		return err
	}
	p.flying++
	if host {
		p.flyingHost++
	}
	return nil
}

// arrive is the end of what depart began, but for leave.
func (p *passage) arrive(host bool) {
	p.flying--
	if host {
		p.flyingHost--
	}
}
