package datapath

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/link"
	"github.com/dockstack/dockstack/internal/ovs"
	"github.com/dockstack/dockstack/internal/ovs/ovstest"
)

// patience is how long a test waits for what should come soon. No test waits so
// long when all is well.
var patience = max(ovstest.Scale(15*time.Second), time.Minute)

// world is a host: its links, its switch, its fabric.
type world struct {
	tb testing.TB
	// home is the host's network namespace; nil is the test's own.
	home *box
	// tunnel is the way to other hosts; "" is the datapath's.
	tunnel string
	cfg    ovs.Config
	links  *link.Manager
	sw     *ovs.Switch
	fab    *fabric.Fabric
	stopSw func()
	stopFa func()
	next   int
}

// newWorld starts a switch of the test's own, and a fabric on it.
func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{tb: tb}
	w.start()
	w.awaitUp()
	return w
}

// start starts all that a host has, and doesn't wait for it.
func (w *world) start() {
	w.tb.Helper()
	w.cfg = ovstest.Config(w.tb)
	if w.home != nil {
		w.cfg.Root = w.home.ovsRoot(w.cfg.Root)
	}
	if err := w.inside(func() (err error) {
		w.links, err = link.Open(ovstest.Log(w.tb))
		return err
	}); err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() {
		w.sweep()
		w.links.Close()
	})
	w.startSwitch()
	w.startFabric()
}

func (w *world) awaitUp() {
	w.tb.Helper()
	w.await("the switch to come up", func() bool { return w.fab.Status().Up })
}

// inside runs fn in the host's network namespace.
func (w *world) inside(fn func() error) error {
	if w.home == nil {
		return fn()
	}
	return w.home.do(fn)
}

// handle is netlink in the host's network namespace.
func (w *world) handle() *netlink.Handle {
	if w.home == nil {
		return &netlink.Handle{}
	}
	return w.home.nl
}

// startSwitch runs the switch until the test ends or stopSw is called.
func (w *world) startSwitch() {
	w.sw = ovs.New(w.cfg, ovstest.Probe(w.links), ovstest.Log(w.tb))
	w.stopSw = w.background(w.sw.Run)
}

// startFabric makes a new fabric on the switch, as a new process would.
func (w *world) startFabric() {
	w.fab = fabric.New(fabric.Config{
		MAC: macOf, DeleteDelay: 50 * time.Millisecond, AuditEvery: time.Second, SettleWait: ovstest.Scale(time.Minute),
		Tunnel: w.tunnel, LingerDelay: ovstest.Scale(200 * time.Millisecond),
	}, w.sw, w.links, ovstest.Log(w.tb))
	w.stopFa = w.background(w.fab.Run)
}

func (w *world) background(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			w.tb.Errorf("ended by itself: %v", err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	w.tb.Cleanup(stop)
	return stop
}

// sweep removes what a test left in the namespace for the next one.
func (w *world) sweep() {
	w.stopFa()
	w.stopSw()
	if w.home != nil {
		return // it goes as a whole
	}
	for _, prefix := range []string{"ds", "c-ds"} {
		links, err := w.links.List(context.Background(), prefix)
		if err != nil {
			w.tb.Error(err)
		}
		for _, l := range links {
			_ = w.links.RemoveGateway(context.Background(), l.Name)
			_ = w.links.DeleteVeth(context.Background(), l.Name)
		}
	}
}

// await waits until something is so.
func (w *world) await(what string, so func() bool) {
	w.tb.Helper()
	deadline := time.Now().Add(patience)
	for {
		late := time.Now().After(deadline) // asked before: the last look is after the deadline
		if so() {
			return
		}
		if late {
			w.tb.Fatalf("waited %s in vain for %s; status: %+v", patience, what, w.fab.Status())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// macOf derives a MAC from an address, as the plugin does.
func macOf(a netip.Addr) net.HardwareAddr {
	b := a.AsSlice()
	return append(net.HardwareAddr{0x02, 0x42}, b[len(b)-4:]...)
}

// network makes a network of this number. Networks have the same subnets, so
// that a leak from one to another would show.
func (w *world) network(vni uint32, change ...func(*fabric.Network)) fabric.Network {
	w.tb.Helper()
	n := fabric.Network{ID: fmt.Sprintf("net%d", vni), VNI: vni, MTU: 1500}
	for _, c := range change {
		c(&n)
	}
	if err := w.fab.PutNetwork(w.tb.Context(), n); err != nil {
		w.tb.Fatal(err)
	}
	return n
}

func withVIPs(vips ...string) func(*fabric.Network) {
	return func(n *fabric.Network) {
		for _, v := range vips {
			n.VIPs = append(n.VIPs, netip.MustParseAddr(v))
		}
	}
}

func withGateways(gateways ...string) func(*fabric.Network) {
	return func(n *fabric.Network) {
		for _, g := range gateways {
			n.Gateways = append(n.Gateways, netip.MustParsePrefix(g))
		}
	}
}

// endpoint makes the facts of an endpoint; its MAC follows from the first address.
func (w *world) endpoint(n fabric.Network, addrs ...string) fabric.Endpoint {
	w.next++
	ep := fabric.Endpoint{ID: fmt.Sprintf("%064x", int(n.VNI)<<32|w.next), Network: n.ID}
	for _, a := range addrs {
		ep.Addrs = append(ep.Addrs, netip.MustParseAddr(a))
	}
	ep.MAC = macOf(ep.Addrs[0])
	return ep
}

// container starts a container with these addresses.
func (w *world) container(n fabric.Network, addrs ...string) *box {
	w.tb.Helper()
	return w.run(n, w.endpoint(n, addrs...))
}

// run starts a container.
func (w *world) run(n fabric.Network, ep fabric.Endpoint) *box {
	w.tb.Helper()
	b := newBox(w.tb)
	src, err := w.fab.Attach(w.tb.Context(), ep)
	if err != nil {
		w.tb.Fatal(err)
	}
	if err := w.fab.Settle(w.tb.Context(), ep.ID); err != nil {
		w.tb.Fatal(err)
	}
	b.take(w.handle(), src, n, ep)
	return b
}
