package daemon

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/events"
	"github.com/dockstack/dockstack/ipam"
)

const (
	// changesWaiting is how many batches of changes may wait to become events.
	changesWaiting = 256
	// changesTold is how many of one batch become events of their own: after a
	// reboot all names are parked at once, and the ring is not for that.
	changesTold = 200
)

// changes turns what the leases tell of changes into events, behind the back of
// the calls that made them.
type changes struct {
	ring *events.Ring
	// now is what is open, for networks' and hosts' names.
	now  func() (*opened, error)
	todo chan []ipam.Change
	// missed is how many found no room.
	missed atomic.Int64
}

func newChanges(ring *events.Ring, now func() (*opened, error)) *changes {
	return &changes{ring: ring, now: now, todo: make(chan []ipam.Change, changesWaiting)}
}

// take hands over a batch. It never waits.
func (c *changes) take(batch []ipam.Change) {
	select {
	case c.todo <- batch:
	default:
		c.missed.Add(int64(len(batch)))
	}
}

// run makes events until ctx ends.
func (c *changes) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case batch := <-c.todo:
			c.tell(batch)
		}
		if n := c.missed.Swap(0); n > 0 {
			c.ring.Add(admin.Event{Kind: admin.EventChanged, Text: fmt.Sprintf("%d changes of names came too fast to be told one by one; `dockstack ls` has how things are", n)})
		}
	}
}

func (c *changes) tell(batch []ipam.Change) {
	o, _ := c.now()
	out := make([]admin.Event, 0, min(len(batch), changesTold))
	counts := map[ipam.ChangeKind]int{}
	for _, ch := range batch {
		if len(out) < changesTold {
			out = append(out, o.event(ch))
		} else {
			counts[ch.Kind]++
		}
	}
	for _, kind := range []ipam.ChangeKind{
		ipam.ChangeNew, ipam.ChangeGone, ipam.ChangeRenamed, ipam.ChangeAddress, ipam.ChangeLive,
		ipam.ChangeParked, ipam.ChangeHost, ipam.ChangeReserved, ipam.ChangeUnreserved, ipam.ChangeOther,
	} {
		if n := counts[kind]; n > 0 {
			out = append(out, admin.Event{Kind: eventKind(kind), Text: fmt.Sprintf("%d more names at the same time: %s", n, kind)})
		}
	}
	c.ring.Add(out...)
}

func eventKind(kind ipam.ChangeKind) string {
	switch kind {
	case ipam.ChangeNew:
		return admin.EventNew
	case ipam.ChangeGone:
		return admin.EventGone
	case ipam.ChangeRenamed:
		return admin.EventRenamed
	case ipam.ChangeLive, ipam.ChangeHost:
		return admin.EventLive
	case ipam.ChangeParked:
		return admin.EventParked
	case ipam.ChangeReserved, ipam.ChangeUnreserved:
		return admin.EventReserved
	default:
		return admin.EventChanged
	}
}

// event is a change in words. o may be nil, while nothing is open.
func (o *opened) event(ch ipam.Change) admin.Event {
	is := ch.New
	if ch.Kind == ipam.ChangeGone {
		is = ch.Old
	}
	e := admin.Event{At: ch.At, Kind: eventKind(ch.Kind), Name: is.Name, Address: is.Addr, Network: is.Pool}
	where := ""
	if o != nil {
		if p, ok := o.Leases.Pool(is.Pool); ok && p.NetworkName != "" {
			e.Network = p.NetworkName
		}
		if o.cluster != nil && is.Host != "" {
			e.Host = o.cluster.peers.Name(is.Host)
			where = " on host " + e.Host
		}
	}
	if is.State != ipam.StateLive {
		where = ""
	}
	e.Text = changeText(ch, e.Network, where)
	return e
}

// changeText says a change in one line.
func changeText(ch ipam.Change, network, where string) string {
	is, in := ch.New, " in "+network
	switch ch.Kind {
	case ipam.ChangeNew:
		if is.State == ipam.StateLive {
			return fmt.Sprintf("%s is new and runs%s with %s%s", is.Name, where, is.Addr, in)
		}
		if is.Reserved {
			return fmt.Sprintf("%s%s is reserved for %s", is.Addr, in, is.Name)
		}
		return fmt.Sprintf("%s is new, with %s%s", is.Name, is.Addr, in)
	case ipam.ChangeGone:
		return fmt.Sprintf("%s has lost %s%s", ch.Old.Name, ch.Old.Addr, in)
	case ipam.ChangeRenamed:
		return fmt.Sprintf("%s is called %s now, and keeps %s%s", ch.Old.Name, is.Name, is.Addr, in)
	case ipam.ChangeAddress:
		return fmt.Sprintf("%s has %s%s now, before %s", is.Name, is.Addr, in, ch.Old.Addr)
	case ipam.ChangeLive:
		return fmt.Sprintf("%s runs%s with %s%s", is.Name, where, is.Addr, in)
	case ipam.ChangeHost:
		return fmt.Sprintf("%s runs%s now, with %s%s", is.Name, where, is.Addr, in)
	case ipam.ChangeParked:
		return fmt.Sprintf("%s has ended; %s%s is kept for it", is.Name, is.Addr, in)
	case ipam.ChangeReserved:
		return fmt.Sprintf("%s%s is reserved for %s", is.Addr, in, is.Name)
	case ipam.ChangeUnreserved:
		return fmt.Sprintf("%s%s is not reserved for %s any more", is.Addr, in, is.Name)
	default:
		return otherText(ch, in)
	}
}

func otherText(ch ipam.Change, in string) string {
	is := ch.New
	if ch.Old.MAC != is.MAC {
		return fmt.Sprintf("%s has the MAC address %s%s now, before %s", is.Name, is.MAC, in, ch.Old.MAC)
	}
	if is.Fixed {
		return fmt.Sprintf("%s names its address %s%s itself now", is.Name, is.Addr, in)
	}
	return fmt.Sprintf("%s does not name its address %s%s itself any more", is.Name, is.Addr, in)
}
