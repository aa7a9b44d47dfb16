package admin

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
)

// Reserving is an order to keep an address for a name.
type Reserving struct {
	Reservation
	// Subnet is made ahead of its network where there is none with it, as an
	// import does.
	Subnet netip.Prefix `json:"subnet,omitzero"`
}

// Reserved is what came of it.
type Reserved struct {
	Lease
	// Before is the address that the name had there until now, where it is another.
	Before netip.Addr `json:"before,omitzero"`
}

func (s *Server) reserve(ctx context.Context, r *http.Request) (any, error) {
	var in Reserving
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if err := checkName(in.Name); err != nil {
		return nil, err
	}
	before, err := s.backend.Leases(ctx, func(l Lease) bool { return l.Name == in.Name })
	if err != nil {
		return nil, err
	}
	var out Reserved
	if in.Subnet.IsValid() {
		out.Lease, err = s.reserveAhead(ctx, in)
	} else if err = s.findPool(ctx, &in.Reservation); err == nil {
		out.Lease, err = s.backend.Reserve(ctx, in.Reservation)
	}
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(before, func(l Lease) bool { return l.Pool == out.Pool && l.Address != out.Address })
	if i >= 0 {
		out.Before = before[i].Address
	}
	return out, nil
}

// reserveAhead reserves in a subnet whose network may be yet to come.
func (s *Server) reserveAhead(ctx context.Context, in Reserving) (Lease, error) {
	switch {
	case in.Pool != "" || in.Network != "":
		return Lease{}, Errorf(CodeUsage, "name a subnet, or a network or pool that is there, not both")
	case !in.Address.IsValid():
		return Lease{}, Errorf(CodeUsage, "in a subnet that may be yet to come, `%s` needs an address: say which", Plain(in.Name))
	case !in.Subnet.Contains(in.Address):
		return Lease{}, Errorf(CodeUsage, "%s is no address in %s", in.Address, in.Subnet)
	}
	plan, err := s.backend.Import(ctx, Import{Reservations: []Reservation{in.Reservation}, Subnets: []netip.Prefix{in.Subnet}})
	if err != nil && len(plan.Clashes) > 0 {
		return Lease{}, Errorf(CodeClash, "%s can't be reserved for `%s`: %s", in.Address, Plain(in.Name), plan.Clashes[0].Reason)
	}
	if err != nil {
		return Lease{}, err
	}
	found, err := s.backend.Leases(ctx, func(l Lease) bool { return l.Name == in.Name && l.Address == in.Address })
	if err != nil {
		return Lease{}, err
	}
	if len(found) == 0 {
		return Lease{}, Errorf(CodeFailed, "%s was reserved for `%s`, and was given up again since", in.Address, Plain(in.Name))
	}
	return found[0], nil
}
