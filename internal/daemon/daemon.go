package daemon

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/events"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/heal"
	"github.com/dockstack/dockstack/internal/link"
	"github.com/dockstack/dockstack/internal/metrics"
	"github.com/dockstack/dockstack/internal/ovs"
	"github.com/dockstack/dockstack/internal/page"
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
	// underlay is where this host's tunnels end, nil where it is alone.
	underlay *underlay
	status   *statusFile
	// started is when this process began.
	started time.Time
	// engineVersion is what the engine last said.
	engineVersion atomic.Pointer[string]
	// upstreams are the resolvers that other names are asked of.
	upstreams func() []netip.AddrPort
	// ring and samples are what happened lately; told belongs to report.
	ring     *events.Ring
	changes  *changes
	samples  *events.Samples
	told     telling
	counts   counts
	metrics  *metrics.Exporter
	refusals refusals
	// hands reach for single containers, for the healer.
	hands  *engine.Hands
	healer *heal.Healer
	// serving is done once starts succeed: then those are caught up on that failed
	// while nobody answered.
	serving sync.Once
	// page is nil where none was asked for.
	page *page.Server
	// tight are the problems of networks that don't fit between the hosts; they
	// belong to report.
	tight []string

	// dnsMu keeps two changes of the networks from mixing, dnsFor are those that
	// DNS is served in.
	dnsMu  sync.Mutex
	dnsFor []fabric.Network
	// dnsAddrs are those that DNS is asked on.
	dnsAddrs atomic.Pointer[[]netip.Addr]
}

// serve serves until ctx ends. What is missing at its start, it waits for:
// only settings, netlink or the sockets themselves can keep it from serving.
func serve(ctx context.Context, cfg config, cfgErr error, log *slog.Logger) error {
	p := &parts{cfg: cfg, log: log, started: time.Now(), ring: events.New(events.Kept)}
	p.told.ring = p.ring
	if err := p.build(cfgErr); err != nil {
		return err
	}
	defer p.links.Close()
	srv, err := listen(ctx, p.driver.Handler(), cfg.socket, cfg.host(discoverySocket))
	if err != nil {
		return err
	}
	log.Info("dockstack serves", "version", version, "socket", cfg.socket)

	p.serveDNS(nil) // before anybody tells of networks
	// The switch outlives the calls that are being finished.
	swCtx, stopSwitch := context.WithCancel(context.WithoutCancel(ctx))
	var fore, back sync.WaitGroup
	run := func(wg *sync.WaitGroup, ctx context.Context, fn func(context.Context)) {
		wg.Go(func() { fn(ctx) })
	}
	run(&back, swCtx, p.logged("switch", p.sw.Run))
	run(&back, swCtx, p.logged("fabric", p.fabric.Run))
	run(&back, swCtx, p.store.run)
	run(&back, swCtx, p.status.run)
	run(&back, swCtx, p.samples.Run)
	run(&back, swCtx, p.changes.run)
	run(&back, ctx, p.install)
	if p.underlay != nil {
		run(&back, swCtx, p.underlay.run)
	}
	run(&fore, ctx, func(ctx context.Context) { srv.serve(ctx, log) })
	run(&fore, ctx, p.recall)
	run(&fore, ctx, p.dns.Run)
	run(&fore, ctx, p.watch)
	run(&fore, ctx, p.heal)
	run(&fore, ctx, p.serveAdmin)
	run(&fore, ctx, p.servePage)
	fore.Wait()
	stopSwitch()
	back.Wait()
	return p.store.close(ctx)
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
	if p.cfg.store.is() {
		p.underlay = newUnderlay(p.cfg, p.links, p.log)
	}
	p.status = newStatusFile(p.cfg.host(statusPath), p.report, p.log)
	p.store = newStore(p.log, func(ctx context.Context) (*opened, error) {
		if cfgErr != nil {
			return nil, cfgErr
		}
		return p.openState(ctx)
	})
	if p.dns, err = p.buildDNS(cfgErr); err != nil {
		return err
	}
	p.changes = newChanges(p.ring, p.store.now)
	p.upstreams, p.samples = p.forwarders(), events.NewSamples(p.dnsStatus)
	p.buildMetrics()
	p.buildPage()
	if err := p.buildHealer(); err != nil {
		return err
	}
	p.driver, err = plugin.New(plugin.Config{
		State:      p.store.ready,
		Fabric:     p.fabric,
		DefaultMTU: p.defaultMTU,
		MaxMTU:     p.maxMTU,
		MAC:        ipam.MAC,
		HostRoot:   p.cfg.hostRoot,
		JournalDir: p.cfg.host(filepath.Join(runDir, "calls")),
		Changed:    p.networks,
		Failed:     p.store.reopen,
		Served:     p.served,
		Log:        p.log,
	})
	return err
}

// networks takes news of which networks there are.
func (p *parts) networks(all []fabric.Network) {
	p.serveDNS(all)
	p.status.networks(all)
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

// maxMTU is the largest MTU that a network between hosts can have.
func (p *parts) maxMTU() int {
	if p.underlay == nil {
		return 0
	}
	return p.underlay.room()
}

func (p *parts) defaultMTU() int {
	if room := p.maxMTU(); room > 0 {
		return room
	}
	ctx, cancel := context.WithTimeout(context.Background(), askKernel)
	defer cancel()
	mtu, err := p.links.UnderlayMTU(ctx)
	if err != nil || mtu <= 0 {
		p.log.Info("the uplink's MTU is not known, taking Ethernet's", "error", err)
		mtu = ethernetMTU
	}
	return mtu - link.Overhead(netip.IPv4Unspecified())
}

var _ plugin.Fabric = (*fabric.Fabric)(nil)
