package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/nearest"
	"github.com/dockstack/dockstack/internal/records"
	"github.com/dockstack/dockstack/ipam"
)

// Ask implements admin.Backend.
func (o operator) Ask(ctx context.Context, q admin.Question) (admin.Answer, error) {
	kind := dns.TypeA
	if q.Type != "" {
		var known bool
		if kind, known = dns.StringToType[strings.ToUpper(q.Type)]; !known {
			return admin.Answer{}, admin.Errorf(admin.CodeUsage, "no DNS type `%s`%s", admin.Plain(q.Type), nearest.Hint(q.Type, []string{"A", "AAAA", "CNAME", "PTR", "SRV", "TXT"}))
		}
	}
	began := time.Now()
	got, err := o.p.dns.Explain(ctx, dnsd.Query{Name: q.Name, Type: kind, Client: q.Client})
	if errors.Is(err, dnsd.ErrName) {
		return admin.Answer{}, admin.Errorf(admin.CodeUsage, "%s", err)
	}
	if err != nil {
		return admin.Answer{}, err
	}
	if got.Answers == nil {
		got.Answers = []string{}
	}
	if got.Rcode == dns.RcodeToString[dns.RcodeNameError] {
		got.Source += o.kept(ctx, q.Name)
	}
	return admin.Answer{Rcode: got.Rcode, Answers: got.Answers, Authority: got.Authority, Additional: got.Additional, Source: got.Source, Took: time.Since(began)}, nil
}

// kept says that an address is kept for a name that does not exist: a stopped
// container's is not in DNS, and that is mostly what somebody asks about who
// doesn't find it.
func (o operator) kept(ctx context.Context, name string) string {
	st, err := o.leases(ctx)
	if err != nil {
		return ""
	}
	name = strings.TrimSuffix(strings.TrimSuffix(name, "."), "."+o.p.dns.Zone())
	bare, _, _ := strings.Cut(name, ".")
	for _, n := range []string{name, bare} {
		found, err := st.Leases.Leases(ctx, ipam.LeaseFilter{Name: n, State: ipam.StateParked})
		if err == nil && len(found) > 0 {
			return fmt.Sprintf("; %s is kept for %s, but no container runs under that name", found[0].Addr, admin.Plain(n))
		}
	}
	return ""
}

// records are the operator's DNS records, once the store is open.
func (o operator) records(ctx context.Context) (*records.Records, error) {
	st, err := o.leases(ctx)
	if err != nil {
		return nil, err
	}
	return st.about.records, nil
}

func adminRecord(r records.Record) admin.Record {
	return admin.Record{Name: r.Name, Type: dns.TypeToString[r.Type], Value: r.Data, TTL: r.TTL}
}

func adminRecords(all []records.Record) []admin.Record {
	out := make([]admin.Record, len(all))
	for i, r := range all {
		out[i] = adminRecord(r)
	}
	return out
}

// ownRecord reads a record of the API; its type may be missing where partly.
func ownRecord(r admin.Record) (records.Record, error) {
	out := records.Record{Name: r.Name, Data: r.Value, TTL: r.TTL}
	if r.Type == "" {
		return out, nil
	}
	var err error
	out.Type, err = records.ParseType(r.Type)
	return out, err
}

// Records implements admin.Backend.
func (o operator) Records(ctx context.Context) ([]admin.Record, error) {
	all, err := o.records(ctx)
	if err != nil {
		return nil, err
	}
	return adminRecords(all.List()), nil
}

// AddRecord implements admin.Backend.
func (o operator) AddRecord(ctx context.Context, r admin.Record) (admin.Record, error) {
	all, err := o.records(ctx)
	if err != nil {
		return admin.Record{}, err
	}
	in, err := ownRecord(r)
	if err == nil && in.Type == 0 {
		err = fmt.Errorf("%w: it has no type", records.ErrUsage)
	}
	if err != nil {
		return admin.Record{}, o.told(err)
	}
	got, err := all.Add(ctx, in)
	if err != nil {
		return admin.Record{}, o.told(err)
	}
	o.p.status.changed()
	return adminRecord(got), nil
}

// RemoveRecord implements admin.Backend.
func (o operator) RemoveRecord(ctx context.Context, r admin.Record) ([]admin.Record, error) {
	all, err := o.records(ctx)
	if err != nil {
		return nil, err
	}
	which, err := ownRecord(r)
	if err != nil {
		return nil, o.told(err)
	}
	gone, err := all.Remove(ctx, which)
	if err != nil {
		return nil, o.told(err)
	}
	o.p.status.changed()
	return adminRecords(gone), nil
}

// lookAtRecords finds what an import's records come to: which are new, and what
// clashes with what is there or with one another.
func lookAtRecords(all *records.Records, in []admin.Record) (fresh []records.Record, clashes []admin.Clash) {
	clash := func(name string, err error) {
		clashes = append(clashes, admin.Clash{Reservation: admin.Reservation{Name: name, From: "DNS record"}, Reason: err.Error()})
	}
	own := make([]records.Record, 0, len(in))
	for _, r := range in {
		rec, err := ownRecord(r)
		if err != nil {
			clash(r.Name, err)
			continue
		}
		own = append(own, rec)
	}
	for i, l := range all.Look(own) {
		switch {
		case l.Err != nil:
			clash(own[i].Name, l.Err)
		case !l.There:
			fresh = append(fresh, l.Record)
		}
	}
	return fresh, clashes
}
