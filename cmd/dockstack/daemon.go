package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/internal/link"
	"github.com/dockstack/dockstack/internal/ovs"
	"github.com/dockstack/dockstack/ipam"
	"github.com/dockstack/dockstack/plugin"
)

// parts are what the daemon is wired of.
type parts struct {
	cfg    config
	log    *slog.Logger
	links  *link.Manager
	sw     *ovs.Switch
	fabric *fabric.Fabric
	store  *store
	dns    *dnsd.Server
	driver *plugin.Driver

	// dnsMu keeps two changes of the networks from mixing.
	dnsMu sync.Mutex
}

// daemon serves until ctx ends. What is missing at its start, it waits for:
// only settings, netlink or the sockets themselves can keep it from serving.
func daemon(ctx context.Context, cfg config, cfgErr error, log *slog.Logger) error {
	p := &parts{cfg: cfg, log: log}
	if err := p.build(cfgErr); err != nil {
		return err
	}
	defer p.links.Close()
	srv, err := listen(ctx, p.driver.Handler(), cfg.socket, cfg.host(discoverySocket))
	if err != nil {
		return err
	}
	log.Info("dockstack serves", "version", version, "socket", cfg.socket)

	// The switch outlives the calls that are being finished.
	swCtx, stopSwitch := context.WithCancel(context.WithoutCancel(ctx))
	var fore, back sync.WaitGroup
	run := func(wg *sync.WaitGroup, ctx context.Context, fn func(context.Context)) {
		wg.Go(func() { fn(ctx) })
	}
	run(&back, swCtx, p.logged("switch", p.sw.Run))
	run(&back, swCtx, p.logged("fabric", p.fabric.Run))
	run(&back, swCtx, p.store.run)
	run(&fore, ctx, func(ctx context.Context) { srv.serve(ctx, log) })
	run(&fore, ctx, p.recall)
	run(&fore, ctx, p.dns.Run)
	run(&fore, ctx, p.watch)
	fore.Wait()
	stopSwitch()
	back.Wait()
	return p.store.close()
}

func (p *parts) logged(what string, run func(context.Context) error) func(context.Context) {
	return func(ctx context.Context) {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("a part of the daemon ended", "part", what, "error", err)
		}
	}
}

// build makes every part; none of them does anything yet.
func (p *parts) build(cfgErr error) error {
	var err error
	if p.links, err = link.Open(p.log); err != nil {
		return err
	}
	p.sw = ovs.New(ovs.Config{
		Datapath:   p.cfg.datapath,
		HostSocket: p.cfg.host("/run/openvswitch/db.sock"),
		RunDir:     p.cfg.host(filepath.Join(runDir, "ovs")),
	}, ovs.Probe{KernelDatapath: link.KernelDatapath, KernelDatapathInUse: p.links.KernelDatapathInUse}, p.log)
	p.fabric = fabric.New(fabric.Config{MAC: ipam.MAC}, p.sw, p.links, p.log)
	p.store = newStore(p.log, func(ctx context.Context) (*plugin.State, error) {
		if cfgErr != nil {
			return nil, cfgErr
		}
		return p.openState(ctx)
	})
	if p.dns, err = p.buildDNS(cfgErr); err != nil {
		return err
	}
	p.driver, err = plugin.New(plugin.Config{
		State:      p.store.get,
		Fabric:     p.fabric,
		DefaultMTU: p.defaultMTU,
		MAC:        ipam.MAC,
		JournalDir: p.cfg.host(filepath.Join(runDir, "calls")),
		Changed:    p.serveDNS,
		Failed:     p.store.reopen,
		Log:        p.log,
	})
	return err
}

// openState opens the store and what decides on top of it.
func (p *parts) openState(ctx context.Context) (*plugin.State, error) {
	kvs, err := boltkv.Open(p.cfg.host(stateFile))
	if err != nil {
		return nil, err
	}
	leases, err := ipam.Open(ctx, kvs, ipam.Config{
		Supernet4: p.cfg.supernet4, Supernet6: p.cfg.supernet6,
		HostRoutes: p.hostRoutes, Alive: p.fabric.Alive, Label: dnsd.Label, Log: p.log,
	})
	if err != nil {
		return nil, errors.Join(err, kvs.Close())
	}
	return &plugin.State{Store: kvs, Leases: leases}, nil
}

// askKernel bounds questions to netlink that come without a context.
const askKernel = 5 * time.Second

func (p *parts) hostRoutes() []netip.Prefix {
	ctx, cancel := context.WithTimeout(context.Background(), askKernel)
	defer cancel()
	routes, err := p.links.HostRoutes(ctx)
	if err != nil {
		p.log.Warn("an automatic subnet is chosen without knowing the host's routes", "error", err)
	}
	return routes
}

// What a frame grows by between hosts: outer Ethernet, IP, UDP and VXLAN
// headers (RFC 7348, section 5), with an IPv4 underlay.
const (
	vxlanOverhead = 50
	ethernetMTU   = 1500
)

func (p *parts) defaultMTU() int {
	ctx, cancel := context.WithTimeout(context.Background(), askKernel)
	defer cancel()
	mtu, err := p.links.UnderlayMTU(ctx)
	if err != nil || mtu <= 0 {
		p.log.Info("the uplink's MTU is not known, taking Ethernet's", "error", err)
		mtu = ethernetMTU
	}
	return mtu - vxlanOverhead
}

func (p *parts) buildDNS(cfgErr error) (*dnsd.Server, error) {
	cfg := dnsd.Config{Zone: p.cfg.zone, ResolvConf: p.cfg.resolvConf()}
	if cfgErr != nil {
		cfg.Zone = "" // the default: the setting may be what is wrong
	}
	if len(p.cfg.resolvers) > 0 {
		cfg.Forwarders = func() []netip.AddrPort { return p.cfg.resolvers }
	}
	return dnsd.New(cfg, func() dnsd.Names {
		p.store.mu.Lock()
		defer p.store.mu.Unlock()
		if p.store.state == nil {
			return nil
		}
		return names{p.store.state.Leases.Names()}
	}, p.log)
}

// DNS is asked on its well-known port and listens on another, to which the
// kernel redirects: a socket on port 53 of whichever of the host's addresses
// would keep every container from publishing that port.
const (
	dnsPort    = 53
	dnsBackend = 15053
)

// serveDNS makes DNS answer on the host's address and every network's gateway.
func (p *parts) serveDNS(networks []fabric.Network) {
	p.dnsMu.Lock()
	defer p.dnsMu.Unlock()
	var addrs []netip.Addr
	var served []netip.Prefix
	if p.cfg.dnsAddr.IsValid() {
		addrs = append(addrs, p.cfg.dnsAddr)
	}
	for _, n := range networks {
		for _, gw := range n.Gateways {
			addrs = append(addrs, gw.Addr())
			served = append(served, gw.Masked())
		}
	}
	port := uint16(dnsBackend)
	if err := link.PutRedirect(link.Redirect{Addrs: addrs, From: dnsPort, To: dnsBackend}); err != nil {
		p.log.Warn("DNS listens on port 53 itself, so no container can publish that port", "error", err)
		port = dnsPort
	}
	listeners := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		listeners[i] = netip.AddrPortFrom(a, port)
	}
	p.dns.SetServed(served)
	if err := p.dns.SetListeners(listeners); err != nil {
		p.log.Warn("DNS does not listen everywhere yet", "error", err)
	}
}

// sweepEvery is how often leases whose end we were not told are looked for.
const sweepEvery = time.Minute

// recall restores networks and endpoints of an earlier run, without waiting
// for the first call, and from then on parks leases that nobody holds.
func (p *parts) recall(ctx context.Context) {
	p.serveDNS(nil)
	for pause := time.Duration(0); ; pause = sweepEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		case <-p.store.opened:
		}
		if err := p.sweep(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("leases not compared with containers yet", "error", err)
		}
	}
}

func (p *parts) sweep(ctx context.Context) error {
	st, err := p.store.get(ctx)
	if err != nil {
		return err
	}
	if err := p.driver.Restore(ctx, st); err != nil {
		return err
	}
	select {
	case <-p.fabric.Recalled():
	case <-ctx.Done():
		return ctx.Err()
	}
	var held []ipam.Endpoint
	for _, e := range p.fabric.Endpoints() {
		if p.fabric.Alive(e.ID) { //nolint:contextcheck // it asks the kernel, which answers at once
			held = append(held, ipam.Endpoint{ID: e.ID, Network: e.Network, Addrs: e.Addrs, MAC: e.MAC.String()})
		}
	}
	return st.Leases.Sweep(ctx, held)
}

// watch follows network names and renames that the engine tells of.
func (p *parts) watch(ctx context.Context) {
	engine.Run(ctx, engine.Config{
		Socket: p.cfg.host(engineSocket),
		Apply:  func(ctx context.Context, pic engine.Picture) { p.apply(ctx, pic) },
		Log:    p.log,
	})
}

func (p *parts) apply(ctx context.Context, pic engine.Picture) {
	st, err := p.store.get(ctx)
	if err != nil {
		return // it is in the log already, and the next picture comes
	}
	var errs []error
	for id, name := range pic.Networks {
		errs = append(errs, st.Leases.SetNetworkName(ctx, id, name))
	}
	containers := make(map[string]string, len(pic.Endpoints))
	for _, e := range pic.Endpoints {
		containers[e.ID] = e.Container
	}
	errs = append(errs, st.Leases.NameEndpoints(ctx, containers), p.driver.Forget(ctx, st, pic.Networks))
	if err := errors.Join(errs...); err != nil {
		p.log.Warn("the engine's names are not all taken over", "error", err)
	}
}

var _ plugin.Fabric = (*fabric.Fabric)(nil)
