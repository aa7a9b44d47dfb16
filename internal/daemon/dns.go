package daemon

import (
	"net/netip"
	"slices"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/link"
	"github.com/dockstack/dockstack/internal/nearest"
)

func (p *parts) buildDNS(cfgErr error) (*dnsd.Server, error) {
	d := p.cfg.dns
	cfg := dnsd.Config{
		Zone: p.cfg.zone, Forwarders: p.forwarders(), Routes: func() []dnsd.Route { return p.cfg.routes },
		Self: p.isDNS, Clients: d.clients, Secondaries: d.secondaries, Nameservers: d.nameservers,
		CacheSize: d.cache, ClientRate: d.limit, Suggest: nearest.Hint,
	}
	if cfgErr != nil {
		cfg.Zone = "" // the default: the setting may be what is wrong
	}
	return dnsd.New(cfg, func() dnsd.Names {
		st, err := p.store.now()
		if err != nil || st == nil {
			return nil
		}
		return st.about.pictures.now()
	}, p.log)
}

// forwarders returns the resolvers that are asked for what no route has, without
// ourselves.
func (p *parts) forwarders() func() []netip.AddrPort {
	all := func() []netip.AddrPort { return p.cfg.resolvers }
	if len(p.cfg.resolvers) == 0 {
		all = dnsd.ResolvConf(p.cfg.resolvConf())
	}
	return func() []netip.AddrPort { return slices.DeleteFunc(slices.Clone(all()), p.isDNS) }
}

// isDNS tells whether addr is ours. The server knows only the port that it
// listens on, and we are asked on another.
func (p *parts) isDNS(addr netip.AddrPort) bool {
	own := p.dnsAddrs.Load()
	return own != nil && addr.Port() == dnsPort && slices.Contains(*own, addr.Addr().Unmap())
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
	p.dnsFor = networks
	p.listen()
}

// serveDNSAgain does so once more, for the same.
func (p *parts) serveDNSAgain() {
	p.dnsMu.Lock()
	defer p.dnsMu.Unlock()
	p.listen()
}

// listen is called with dnsMu held.
func (p *parts) listen() {
	var addrs []netip.Addr
	var served []netip.Prefix
	addrs = append(addrs, p.cfg.dns.addrs...)
	for _, n := range p.dnsFor {
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
	p.dnsAddrs.Store(&addrs)
	p.dns.SetServed(served)
	if err := p.dns.SetListeners(listeners); err != nil {
		p.log.Warn("DNS does not listen everywhere yet", "error", err)
	}
}
