package leasefile

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/environment"
	"github.com/dockstack/dockstack/internal/nearest"
	"github.com/dockstack/dockstack/internal/yamldoc"
)

// The keys of our own export.
var (
	ownKeys         = []string{"reservations", "records", "subnets"}
	reservationKeys = []string{"name", "address", "mac", "pool", "network"}
	recordKeys      = []string{"name", "type", "value", "ttl"}
	recordTypes     = []string{"A", "AAAA", "CNAME", "SRV", "TXT", "PTR"}
)

// readOwn reads our own export, YAML or JSON, which YAML takes as well. It is
// strict: a mistyped key would lose what it has.
func (s source) readOwn(b *builder) error {
	doc, err := yamldoc.Parse(s.name, s.data)
	if err != nil {
		return err
	}
	for _, p := range b.keys(doc.Top(), "the file", ownKeys) {
		for _, v := range p.Value.List() {
			switch p.Key {
			case "reservations":
				b.ownReservation(v)
			case "records":
				b.ownRecord(v)
			case "subnets":
				text, _ := v.Scalar()
				prefix, err := netip.ParsePrefix(text)
				if err != nil {
					b.wrong.Add(v.At(), "%s is no subnet; one such as 172.16.0.0/16 is wanted", v.Kind())
				}
				b.subnet(prefix)
			}
		}
	}
	return nil
}

// keys are a mapping's, all of which have to be known.
func (b *builder) keys(v yamldoc.Value, what string, known []string) []yamldoc.Pair {
	pairs, err := v.Map()
	if err != nil {
		b.wrong.Err(err)
		return nil
	}
	for _, p := range pairs {
		if !slices.Contains(known, p.Key) {
			b.wrong.Add(b.at(p.Line), "%s has a key %q, which is not known%s", what, plain(p.Key), nearest.Hint(p.Key, known))
		}
	}
	return pairs
}

// words are the keys of an entry whose values are words.
func (b *builder) words(v yamldoc.Value, what string, known []string) map[string]string {
	out := map[string]string{}
	for _, p := range b.keys(v, what, known) {
		text, ok := p.Value.Scalar()
		if !ok && !p.Value.Empty() {
			b.wrong.Add(b.at(p.Line), "%s: %s is %s where a word is wanted", what, p.Key, p.Value.Kind())
		}
		out[p.Key] = text
	}
	return out
}

func (b *builder) ownReservation(v yamldoc.Value) {
	words := b.words(v, "a reservation", reservationKeys)
	if len(words) == 0 && b.wrong.Any() {
		return // which was said
	}
	r := admin.Reservation{Name: words["name"], Pool: words["pool"], Network: words["network"]}
	if r.Name == "" || words["address"] == "" {
		b.wrong.Add(v.At(), "a reservation needs a name and an address")
		return
	}
	var err error
	if r.Address, err = parseAddr(words["address"]); err != nil {
		b.wrong.Add(v.At(), "reservation of %s: %w", plain(r.Name), err)
		return
	}
	if words["mac"] != "" {
		if r.MAC, err = parseMAC(words["mac"]); err != nil {
			b.wrong.Add(v.At(), "reservation of %s: %w", plain(r.Name), err)
			return
		}
	}
	b.reserve(v.Line(), r)
}

func (b *builder) ownRecord(v yamldoc.Value) {
	words := b.words(v, "a record", recordKeys)
	if len(words) == 0 && b.wrong.Any() {
		return // which was said
	}
	r := admin.Record{Name: words["name"], Type: words["type"], Value: words["value"]}
	switch {
	case r.Name == "" || r.Value == "":
		b.wrong.Add(v.At(), "a record needs a name, a type and a value")
		return
	case !slices.Contains(recordTypes, r.Type):
		b.wrong.Add(v.At(), "record %s: there is no type %q%s", plain(r.Name), plain(r.Type), nearest.Hint(r.Type, recordTypes))
		return
	}
	if text := words["ttl"]; text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			b.wrong.Add(v.At(), "record %s: ttl %q is no number of seconds", plain(r.Name), plain(text))
			return
		}
		r.TTL = uint32(n)
	}
	b.record(v.Line(), r)
}

// readEnvironment reads the ancestor's environment.yaml.
func (s source) readEnvironment(b *builder) error {
	env, err := environment.Parse(s.name, s.data)
	if err != nil {
		return err
	}
	for _, c := range env.Containers {
		if c.Domain != "" {
			b.domains[c.Domain]++
		}
		b.subnet(c.Subnet())
		if !c.IP.IsValid() {
			b.leave(c.Line, c.Name, "has no ip; dockstack gives the next free one and keeps it")
		} else {
			b.reserve(c.IPLine, admin.Reservation{Name: c.Name, Address: c.IP, MAC: c.MAC})
		}
	}
	for _, u := range env.Unknown {
		reason := "is a key that the ancestor did not know"
		if u.Meant != "" {
			reason += "; did you mean `" + u.Meant + "`?"
		}
		b.leave(u.Line, u.Path, "%s", reason)
	}
	if env.VIP.IsValid() && env.VIPName != "" {
		b.record(0, admin.Record{Name: env.VIPName, Type: addrType(env.VIP), Value: env.VIP.String()})
	}
	b.leave(0, "images, volumes, hooks and settings", "are no leases; `dockstack convert` makes compose files of them")
	return nil
}
