package daemon

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/records"
	"github.com/dockstack/dockstack/ipam"
)

// operator is what operators ask and tell the daemon.
type operator struct{ p *parts }

var _ admin.Backend = operator{}

// Status implements admin.Backend.
func (o operator) Status(ctx context.Context) admin.Status { return o.p.statusNow(ctx) }

// leases are the registry, once the store is open.
func (o operator) leases(ctx context.Context) (*opened, error) {
	st, err := o.p.store.get(ctx)
	if err != nil {
		return nil, admin.Errorf(admin.CodeAway, "the store is not open: %s", o.p.cfg.onHost(unused(err)))
	}
	return st, nil
}

// Leases implements admin.Backend.
func (o operator) Leases(ctx context.Context, keep func(admin.Lease) bool) ([]admin.Lease, error) {
	st, err := o.leases(ctx)
	if err != nil {
		return nil, err
	}
	pools := map[string]ipam.Pool{}
	for _, p := range st.Leases.Pools() {
		pools[p.ID] = p
	}
	var out []admin.Lease
	err = st.Leases.Each(ctx, ipam.LeaseFilter{}, func(one ipam.Lease) {
		if l := st.adminLease(one, pools[one.Pool]); keep(l) {
			out = append(out, l)
		}
	})
	slices.SortFunc(out, func(a, b admin.Lease) int {
		return cmp.Or(strings.Compare(a.Pool, b.Pool), a.Address.Compare(b.Address))
	})
	return out, o.told(err)
}

// adminLease is a lease in the API's words.
func (o *opened) adminLease(l ipam.Lease, p ipam.Pool) admin.Lease {
	out := admin.Lease{
		Name: l.Name, Address: l.Addr, MAC: l.MAC, Network: p.NetworkName, Pool: l.Pool, Overlay: p.Overlay,
		State: string(l.State), Fixed: l.Fixed, Reserved: l.Reserved, Since: l.Since,
	}
	if o.cluster != nil && l.Host != "" {
		out.HostID, out.Host = l.Host, o.cluster.peers.Name(l.Host)
	}
	return out
}

// Pools implements admin.Backend.
func (o operator) Pools(ctx context.Context) ([]admin.Pool, error) {
	st, err := o.leases(ctx)
	if err != nil {
		return nil, err
	}
	pools, _, err := count(ctx, st)
	return pools, o.told(err)
}

// Hosts implements admin.Backend.
func (o operator) Hosts(ctx context.Context) ([]admin.Host, error) {
	st, err := o.leases(ctx)
	if err != nil {
		return nil, err
	}
	if st.cluster == nil {
		return []admin.Host{o.p.aloneHost(st)}, nil
	}
	_, live, err := count(ctx, st)
	if err != nil {
		return nil, o.told(err)
	}
	var out []admin.Host
	self := st.cluster.peers.Self().ID
	for _, h := range st.cluster.peers.All() {
		out = append(out, adminHost(h, self))
	}
	for i := range out {
		out[i].Live = live[out[i].ID]
		delete(live, out[i].ID)
	}
	for id, n := range live {
		out = append(out, admin.Host{ID: id, Name: st.cluster.peers.Name(id), Live: n})
	}
	return out, nil
}

// told is an error of the registry in the API's words.
func (o operator) told(err error) error {
	if err == nil {
		return nil
	}
	text := o.p.cfg.onHost(err.Error())
	for _, c := range []struct {
		code admin.Code
		of   []error
	}{
		{admin.CodeAway, []error{kv.ErrAway, kv.ErrClosed, kv.ErrLocked, errRefused}},
		{admin.CodeNotFound, []error{ipam.ErrNoLease, ipam.ErrUnknownPool, ipam.ErrUnknownNetwork, ipam.ErrUnknownHost, records.ErrUnknown}},
		{admin.CodeClash, []error{
			ipam.ErrAddressTaken, ipam.ErrElsewhere, ipam.ErrPoolInUse, ipam.ErrOverlap, ipam.ErrMismatch, ipam.ErrPoolFull,
			ipam.ErrLive, ipam.ErrClash, ipam.ErrHostAlive, records.ErrClash,
		}},
		{admin.CodeUsage, []error{ipam.ErrOutsidePool, ipam.ErrNotUsable, ipam.ErrNoName, ipam.ErrAmbiguous, kv.ErrNewer, records.ErrUsage}},
	} {
		for _, sentinel := range c.of {
			if errors.Is(err, sentinel) {
				return &admin.Error{Code: c.code, Text: text}
			}
		}
	}
	var e *admin.Error
	if errors.As(err, &e) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	return &admin.Error{Code: admin.CodeFailed, Text: text}
}

// Reserve implements admin.Backend.
func (o operator) Reserve(ctx context.Context, r admin.Reservation) (admin.Lease, error) {
	st, err := o.leases(ctx)
	if err != nil {
		return admin.Lease{}, err
	}
	l, err := st.Leases.ReserveAs(ctx, ipamReservation(r))
	if err != nil {
		return admin.Lease{}, o.told(err)
	}
	p, _ := st.Leases.Pool(l.Pool)
	return st.adminLease(l, p), nil
}

// Release implements admin.Backend.
func (o operator) Release(ctx context.Context, name string, pools ...string) error {
	st, err := o.leases(ctx)
	if err != nil {
		return err
	}
	return o.told(st.Leases.Release(ctx, name, pools...))
}

// RenameLease implements admin.Backend.
func (o operator) RenameLease(ctx context.Context, from, to string, pools ...string) error {
	st, err := o.leases(ctx)
	if err != nil {
		return err
	}
	return o.told(st.Leases.RenameLease(ctx, from, to, pools...))
}

// ForgetHost implements admin.Backend.
func (o operator) ForgetHost(ctx context.Context, id string) error {
	st, err := o.leases(ctx)
	if err != nil {
		return err
	}
	err = st.Leases.ForgetHost(ctx, id)
	if err != nil && !errors.Is(err, ipam.ErrUnknownHost) {
		return o.told(err)
	}
	// What DNS has of it goes as well, also where a try before got half way.
	n, left := st.about.services.ForgetHost(ctx, id)
	if n > 0 && left == nil {
		return nil
	}
	if err == nil {
		err = left
	}
	return o.told(err)
}

// Watch implements admin.Backend.
func (o operator) Watch(since uint64) admin.Watch { return o.p.ring.Watch(since) }

// Samples implements admin.Backend.
func (o operator) Samples() []admin.DNSSample { return o.p.samples.All() }

// dnsStatus is how DNS stands.
func (p *parts) dnsStatus() admin.DNSStatus {
	n := p.dns.Stats()
	out := admin.DNSStatus{
		Zone: p.dns.Zone(), Listeners: []admin.DNSListener{}, Forwarders: []string{},
		Queries: n.Queries, Answered: n.Answered, Forwarded: n.Forwarded, Failed: n.Failed,
		Cached: n.Cached, Stale: n.Stale, CacheEntries: n.CacheEntries, CacheBytes: n.CacheBytes, Refused: n.Refused, Limited: n.Limited, Malformed: n.Malformed,
	}
	for _, l := range p.dns.Listeners() {
		at := admin.DNSListener{Addr: netip.AddrPortFrom(l.Want.Addr(), dnsPort)}
		if l.Err != nil {
			at.Error = l.Err.Error()
		}
		out.Listeners = append(out.Listeners, at)
	}
	for _, r := range p.upstreams() {
		out.Forwarders = append(out.Forwarders, r.String())
	}
	for _, route := range p.cfg.routes {
		for _, r := range route.Resolvers {
			out.Forwarders = append(out.Forwarders, "/"+route.Domain+"/"+r.String())
		}
	}
	return out
}
