package admin

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/nearest"
)

// dockerName is what Docker takes as a container's name.
var dockerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// checkName refuses names that no container can have: what is kept for them
// would be kept for nobody.
func checkName(name string) error {
	switch {
	case name == "":
		return Errorf(CodeUsage, "a container's name is missing")
	case !dockerName.MatchString(name):
		return Errorf(CodeUsage, "`%s` can't be a container's name: Docker takes letters, digits, `_`, `.` and `-`, two at least, the first a letter or digit", Plain(shorten(name)))
	}
	return nil
}

// explainNone says why a filter took nothing: where one of its words is the name
// of nothing there is, that is an error.
func (s *Server) explainNone(ctx context.Context, f Filter) error {
	if err := s.explainNames(ctx, f); err != nil {
		return err
	}
	for _, word := range f.Networks {
		if isPattern(word) {
			continue
		}
		if _, err := s.networkPools(ctx, word); err != nil {
			return err
		}
	}
	for _, word := range f.Hosts {
		if isPattern(word) {
			continue
		}
		if _, err := s.findHost(ctx, word); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) explainNames(ctx context.Context, f Filter) error {
	for _, word := range f.Names {
		if isPattern(word) {
			continue
		}
		found, err := s.backend.Leases(ctx, func(l Lease) bool { return strings.EqualFold(l.Name, word) })
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return s.noName(ctx, word)
		}
	}
	for _, word := range f.Addresses {
		addr, err := netip.ParseAddr(word)
		if err != nil {
			continue
		}
		found, err := s.backend.Leases(ctx, func(l Lease) bool { return l.Address == addr })
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return Errorf(CodeNotFound, "no name has the address %s", addr)
		}
	}
	return nil
}

// onLoneHost is Match where all names are on the only host that there is: none
// says so.
func (s *Server) onLoneHost(ctx context.Context, f Filter) (func(Lease) bool, error) {
	if len(f.Hosts) == 0 {
		return f.Match, nil
	}
	hosts, err := s.backend.Hosts(ctx)
	if err != nil || len(hosts) != 1 || !hosts[0].Self {
		return f.Match, err
	}
	return func(l Lease) bool {
		if l.HostID == "" && l.Host == "" {
			l.HostID, l.Host = hosts[0].ID, hosts[0].Name
		}
		return f.Match(l)
	}, nil
}

// noName is the error for a name that nothing is kept for.
func (s *Server) noName(ctx context.Context, name string) error {
	found, err := s.backend.Leases(ctx, func(Lease) bool { return true })
	if err != nil {
		return err
	}
	names := make([]string, len(found))
	for i, l := range found {
		names[i] = l.Name
	}
	return Errorf(CodeNotFound, "no name `%s`%s", Plain(shorten(name)), Plain(nearest.Hint(name, names)))
}

// holders are the pools in which something is kept for the target; none stands
// for all.
func (s *Server) holders(ctx context.Context, t Target) ([]string, error) {
	switch {
	case t.Name == "":
		return nil, Errorf(CodeUsage, "a container's name is missing")
	case t.Pool != "" && t.Network != "":
		return nil, Errorf(CodeUsage, "name a network or a pool, not both")
	case t.Pool == "" && t.Network == "":
		return nil, nil
	}
	word := t.Pool + t.Network
	pools, err := s.networkPools(ctx, word)
	if err != nil {
		return nil, err
	}
	found, err := s.backend.Leases(ctx, func(l Lease) bool { return l.Name == t.Name })
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, s.noName(ctx, t.Name)
	}
	var out, others []string
	for _, l := range found {
		if slices.ContainsFunc(pools, func(p Pool) bool { return p.ID == l.Pool }) {
			out = append(out, l.Pool)
		} else {
			others = append(others, "`"+Plain(networkName(l))+"`")
		}
	}
	if len(out) == 0 {
		return nil, Errorf(CodeNotFound, "`%s` has no address in `%s`; it has one in %s", Plain(t.Name), Plain(word), strings.Join(slices.Compact(others), ", "))
	}
	return out, nil
}

func networkName(l Lease) string {
	if l.Network != "" {
		return l.Network
	}
	return l.Pool
}

// networkPools are the pools that a word names: by network, overlay, id or
// subnet.
func (s *Server) networkPools(ctx context.Context, word string) ([]Pool, error) {
	all, err := s.backend.Pools(ctx)
	if err != nil {
		return nil, err
	}
	var out []Pool
	var known []string
	for _, p := range all {
		if fits([]string{word}, p.Network, p.Overlay, p.ID, p.Subnet.String()) {
			out = append(out, p)
		}
		for _, name := range []string{p.Network, p.Overlay, p.Subnet.String()} {
			if name != "" {
				known = append(known, name)
			}
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	hint := Plain(nearest.Hint(word, known))
	if hint == "" {
		slices.Sort(known)
		hint = "; there are " + Plain(someOf(slices.Compact(known), 5))
		if len(known) == 0 {
			hint = "; there is none yet"
		}
	}
	return nil, Errorf(CodeNotFound, "no network `%s`%s", Plain(shorten(word)), hint)
}

// findPool puts the pool that is meant into a reservation.
func (s *Server) findPool(ctx context.Context, r *Reservation) error {
	if r.Network == "" {
		return nil
	}
	if r.Pool != "" {
		return Errorf(CodeUsage, "name a network or a pool, not both")
	}
	pools, err := s.networkPools(ctx, r.Network)
	if err != nil {
		return err
	}
	var subnets []string
	for _, p := range pools {
		if p.Subnet.Contains(r.Address) || !r.Address.IsValid() && len(pools) == 1 {
			r.Pool, r.Network = p.ID, ""
			return nil
		}
		subnets = append(subnets, p.Subnet.String())
	}
	if !r.Address.IsValid() {
		return Errorf(CodeUsage, "network `%s` has %s; say which address", Plain(r.Network), strings.Join(subnets, " and "))
	}
	where := ""
	if r.From != "" {
		where = Plain(r.From) + ": "
	}
	return Errorf(CodeUsage, "%s%s is no address of network `%s`, which has %s", where, r.Address, Plain(r.Network), strings.Join(subnets, ", "))
}

// findHost is the host that a word names, by name or id.
func (s *Server) findHost(ctx context.Context, word string) (Host, error) {
	all, err := s.backend.Hosts(ctx)
	if err != nil {
		return Host{}, err
	}
	var out []Host
	var known []string
	for _, h := range all {
		if fits([]string{word}, h.Name, h.ID) {
			out = append(out, h)
		}
		known = append(known, h.Name, h.ID)
	}
	switch {
	case word == "":
		return Host{}, Errorf(CodeUsage, "a host's name or id is missing")
	case len(out) == 1:
		return out[0], nil
	case len(out) > 1:
		ids := make([]string, len(out))
		for i, h := range out {
			ids[i] = fmt.Sprintf("%s (%s)", h.ID, Plain(h.Name))
		}
		return Host{}, Errorf(CodeUsage, "several hosts are called `%s`: name one by its id: %s", Plain(word), strings.Join(ids, ", "))
	}
	return Host{}, Errorf(CodeNotFound, "no host `%s`%s", Plain(shorten(word)), Plain(nearest.Hint(word, known)))
}
