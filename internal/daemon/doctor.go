package daemon

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/doctor"
	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/link"
	"github.com/dockstack/dockstack/ipam"
)

// doctorLimit bounds one doctor's visit: twice looking and mending in between.
const doctorLimit = 90 * time.Second

// visiting keeps two doctors from mending at once.
var visiting sync.Mutex

// Doctor implements admin.Backend.
func (o operator) Doctor(ctx context.Context, mode admin.DoctorMode) (admin.Report, error) {
	if !visiting.TryLock() {
		return admin.Report{}, admin.Errorf(admin.CodeBusy, "the doctor is here already: try again in a minute")
	}
	defer visiting.Unlock()
	ctx, cancel := context.WithTimeout(ctx, doctorLimit)
	defer cancel()
	h := o.p.doctorHost()
	found := doctor.Check(ctx, h)
	if mode != admin.DoctorFix {
		return o.p.findings(found), ctx.Err()
	}
	var ids []string
	for _, f := range found {
		if f.Fix && f.Severity != doctor.OK {
			ids = append(ids, f.ID)
		}
	}
	if len(ids) == 0 {
		return o.p.findings(found), ctx.Err()
	}
	failed := map[string]string{}
	for _, r := range doctor.Fix(ctx, h, ids) {
		failed[r.ID] = r.Error
	}
	after := doctor.Check(ctx, h)
	out := o.p.findings(after)
	for i, f := range out.Findings {
		out.Findings[i].Failed = failed[f.ID]
	}
	for _, f := range found {
		if f.Fix && f.Severity != doctor.OK && !among(after, f) {
			mended := finding(f)
			mended.Mended = true
			out.Findings = append(out.Findings, mended)
		}
	}
	return out, ctx.Err()
}

func among(all []doctor.Finding, f doctor.Finding) bool {
	for _, o := range all {
		if o.ID == f.ID && o.Subject == f.Subject && o.Severity != doctor.OK {
			return true
		}
	}
	return false
}

// findings is what was found in the API's words.
func (p *parts) findings(found []doctor.Finding) admin.Report {
	out := admin.Report{At: time.Now(), Host: p.cfg.hostName, Findings: []admin.Finding{}}
	for _, f := range found {
		f.What, f.Why = p.cfg.onHost(f.What), p.cfg.onHost(f.Why)
		out.Findings = append(out.Findings, finding(f))
	}
	return out
}

// finding is one in the API's words.
func finding(f doctor.Finding) admin.Finding {
	return admin.Finding{
		ID: f.ID, Severity: string(f.Severity), Subject: f.Subject, What: f.What, Why: f.Why, Command: f.Command, Fix: f.Fix,
	}
}

// doctorHost is this host as the doctor sees it.
func (p *parts) doctorHost() doctor.Host {
	h := doctor.Host{
		Name: p.cfg.hostName, Root: p.cfg.hostRoot, State: stateFile, Zone: p.cfg.zone,
		DNS: p.cfg.dns.addrs, DNSPort: dnsPort, DNSBackend: dnsBackend, Port: p.cfg.vxlanPort,
		Engine: doctorEngine{p}, Fabric: doctorFabric{p.fabric, p}, Switch: p.sw, Links: p.links, Kernel: doctorKernel{p.links},
		Tunnels: doctorTunnels{p.links}, Server: doctorDNS{p}, Store: doctorStore{p}, Mender: doctorMender{p}, Groups: doctorGroups{p.healer},
	}
	if o, err := p.store.now(); err == nil && o != nil && o.cluster != nil {
		h.Cluster, h.VTEP = doctorCluster{o.cluster}, o.cluster.peers.Self().VTEP
	}
	return h
}

type doctorEngine struct{ p *parts }

// Look implements doctor.Engine.
func (e doctorEngine) Look(ctx context.Context) (engine.View, error) {
	return engine.Look(ctx, e.p.cfg.host(engineSocket))
}

type doctorFabric struct {
	*fabric.Fabric
	p *parts
}

// Networks implements doctor.Fabric.
func (f doctorFabric) Networks() []fabric.Network { return f.p.status.known() }

type doctorKernel struct{ *link.Manager }

// KernelDatapath implements doctor.Kernel.
func (doctorKernel) KernelDatapath() (bool, error) { return link.KernelDatapath() }

// RedirectMissing implements doctor.Kernel.
func (doctorKernel) RedirectMissing(r link.Redirect) (string, error) { return link.RedirectMissing(r) }

// Tun implements doctor.Kernel.
func (doctorKernel) Tun() error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

type doctorTunnels struct{ *link.Manager }

// ProbePath implements doctor.Tunnels.
func (doctorTunnels) ProbePath(ctx context.Context, from, to netip.Addr, size int) (link.Path, error) {
	return link.ProbePath(ctx, from, to, size)
}

// Bound implements doctor.Tunnels.
func (doctorTunnels) Bound(protocol string, port uint16) ([]netip.Addr, error) {
	return link.Bound(protocol, port)
}

type doctorDNS struct{ p *parts }

// Listeners implements doctor.Server.
func (d doctorDNS) Listeners() []dnsd.Listener { return d.p.dns.Listeners() }

// Asked implements doctor.Server.
func (d doctorDNS) Asked() []netip.Addr {
	if a := d.p.dnsAddrs.Load(); a != nil {
		return *a
	}
	return nil
}

type doctorStore struct{ p *parts }

// Closed implements doctor.Store.
func (s doctorStore) Closed() error {
	o, err := s.p.store.now()
	switch {
	case err != nil:
		return err
	case o == nil:
		return errors.New(admin.StoreOpening)
	case o.cluster != nil:
		if away, _ := o.cluster.gate.State(); errors.Is(away, errRefused) {
			return away
		}
	}
	return nil
}

// Leases implements doctor.Store.
func (s doctorStore) Leases(ctx context.Context) ([]ipam.Lease, error) {
	o, err := s.p.store.get(ctx)
	if err != nil {
		return nil, err
	}
	return o.Leases.Leases(ctx, ipam.LeaseFilter{})
}

// Pools implements doctor.Store.
func (s doctorStore) Pools(ctx context.Context) ([]doctor.PoolUse, error) {
	o, err := s.p.store.get(ctx)
	if err != nil {
		return nil, err
	}
	usage, err := o.Leases.Usage(ctx)
	if err != nil {
		return nil, err
	}
	var out []doctor.PoolUse
	for _, p := range o.Leases.Pools() {
		u := usage[p.ID]
		out = append(out, doctor.PoolUse{
			ID: p.ID, Network: cmp.Or(p.NetworkName, p.ID), NetworkID: p.Network, Subnet: p.Subnet,
			Live: u.Live, Parked: u.Parked, Reserved: u.Reserved, Free: u.Free,
		})
	}
	return out, nil
}

// Problems implements doctor.Store.
func (s doctorStore) Problems() []string {
	out := s.p.mtuProblems()
	o, err := s.p.store.now()
	switch {
	case err != nil || o == nil:
	case o.cluster != nil:
		for _, text := range o.cluster.problems() {
			if !strings.HasPrefix(text, errRefused.Error()) { // the store is closed, then
				out = append(out, text)
			}
		}
	default:
		out = append(out, o.Leases.Problems()...)
	}
	return out
}

type doctorMender struct{ p *parts }

// Drop implements doctor.Mender.
func (m doctorMender) Drop(ctx context.Context, endpointID string) error {
	if alive, err := m.p.fabric.InContainer(endpointID); alive || err != nil {
		return err // a container took it since
	}
	return m.p.fabric.Detach(ctx, endpointID)
}

// Park implements doctor.Mender.
func (m doctorMender) Park(ctx context.Context, l ipam.Lease) error {
	o, err := m.p.store.get(ctx)
	if err != nil {
		return err
	}
	return o.Leases.ParkUnheld(ctx, l)
}

// ServeDNS implements doctor.Mender.
func (m doctorMender) ServeDNS(context.Context) error {
	m.p.serveDNSAgain()
	for _, l := range m.p.dns.Listeners() {
		if l.Err != nil {
			return l.Err
		}
	}
	return nil
}
