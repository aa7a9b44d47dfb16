package records

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/internal/nearest"
)

const (
	// maxData bounds a record's data, as text.
	maxData = 8 << 10
	// maxTTL is the longest that RFC 2181 permits.
	maxTTL = 1<<31 - 1
	// maxString is how long one string of a TXT record may be.
	maxString = 255
)

// types are what an operator may declare.
var types = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypePTR, dns.TypeSRV, dns.TypeTXT}

// ParseType reads a type's name.
func ParseType(text string) (uint16, error) {
	t := dns.StringToType[strings.ToUpper(strings.TrimSpace(text))]
	if slices.Contains(types, t) {
		return t, nil
	}
	var all []string
	for _, t := range types {
		all = append(all, dns.TypeToString[t])
	}
	return 0, fmt.Errorf("%w: type %q is not one of %s%s", ErrUsage, text, strings.Join(all, ", "), nearest.Hint(text, all))
}

// Parse reads a record as an operator writes it: its name, and names in its
// data, are full ones, or relative to the zone where they have no dot.
func Parse(zone string, in Record) (Record, error) {
	name, err := fullName(zone, in.Name, in.Type)
	if err != nil {
		return in, err
	}
	in.Name = name
	if in.Data, err = fullData(zone, in); err != nil {
		return in, err
	}
	if err := in.check(); err != nil {
		return in, err
	}
	return in, in.possible(zone)
}

// fullName completes a name. An address as the name of a PTR record is its
// reverse name.
func fullName(zone, name string, of uint16) (string, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	if addr, err := netip.ParseAddr(name); err == nil {
		if of != dns.TypePTR {
			return name, fmt.Errorf("%w: %q is an address; a record of an address is a PTR record, any other needs a name", ErrUsage, name)
		}
		reverse, err := dns.ReverseAddr(addr.Unmap().WithZone("").String())
		if err != nil {
			return name, fmt.Errorf("%w: %q: %w", ErrUsage, name, err)
		}
		return strings.TrimSuffix(reverse, "."), nil
	}
	if full, whole := strings.CutSuffix(name, "."); whole {
		return full, checkName(full)
	}
	if relative(name) {
		if name == "@" || name == "" {
			name = zone
		} else {
			name += "." + zone
		}
	}
	return name, checkName(name)
}

// relative tells whether the name has no dot, apart from a wildcard and the
// labels of a service.
func relative(name string) bool {
	name = strings.TrimPrefix(name, "*.")
	for strings.HasPrefix(name, "_") {
		_, rest, more := strings.Cut(name, ".")
		if !more {
			return true
		}
		name = rest
	}
	return !strings.Contains(name, ".")
}

// checkName takes full names of plain labels, in lower case.
func checkName(name string) error {
	bad := func(why string) error {
		return fmt.Errorf("%w: %.80q is no name for a record: %s", ErrUsage, name, why)
	}
	if name == "" || len(name) > 253 {
		return bad("it has 1 to 253 letters")
	}
	for i, label := range strings.Split(name, ".") {
		switch {
		case label == "*" && i == 0 && strings.Contains(name, "."):
		case strings.Contains(label, "*"):
			return bad("a wildcard is `*.` and a name, such as *.apps.endor.lab")
		case label == "" || len(label) > 63:
			return bad("between two dots stand 1 to 63 letters")
		case strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}):
			return bad("it has letters, digits, hyphens and underscores")
		}
	}
	return nil
}

// fullData completes the names in the data, and brings it into the form that
// the store and answers have.
func fullData(zone string, rec Record) (string, error) {
	data := strings.TrimSpace(rec.Data)
	if data == "" || len(data) > maxData || strings.ContainsFunc(data, unicode.IsControl) {
		return data, fmt.Errorf("%w: %s of %s has %d bytes, or characters that are no text", ErrUsage, dns.TypeToString[rec.Type], rec.Name, len(data))
	}
	switch rec.Type {
	case dns.TypeCNAME, dns.TypePTR, dns.TypeSRV:
		fields := strings.Fields(data)
		last := len(fields) - 1
		if addr, err := netip.ParseAddr(fields[last]); err == nil {
			return data, fmt.Errorf("%w: %s of %s leads to a name, and %s is an address; give the name an A or AAAA record", ErrUsage, dns.TypeToString[rec.Type], rec.Name, addr)
		}
		if fields[last] != "." {
			target, err := fullName(zone, fields[last], 0)
			if err != nil {
				return data, fmt.Errorf("%s of %s: the name it leads to: %w", dns.TypeToString[rec.Type], rec.Name, err)
			}
			if strings.HasPrefix(target, "*") {
				return data, fmt.Errorf("%w: %s of %s leads to a wildcard, %s", ErrUsage, dns.TypeToString[rec.Type], rec.Name, target)
			}
			fields[last] = target + "."
		}
		data = strings.Join(fields, " ")
	case dns.TypeTXT:
		if !strings.HasPrefix(data, `"`) {
			data = quote(data)
		}
	case dns.TypeA, dns.TypeAAAA:
		return checkAddress(rec, data)
	}
	rr, err := parseRR(Record{Name: rec.Name, Type: rec.Type, Data: data})
	if err != nil {
		return data, err
	}
	return dataOf(rr), nil
}

func checkAddress(rec Record, data string) (string, error) {
	addr, err := netip.ParseAddr(data)
	switch {
	case err != nil || addr.Zone() != "":
		return data, fmt.Errorf("%w: %.80q is no address; an %s record has one, such as %s", ErrUsage, data, dns.TypeToString[rec.Type],
			map[uint16]string{dns.TypeA: "192.0.2.10", dns.TypeAAAA: "2001:db8::10"}[rec.Type])
	case addr.Unmap().Is4() != (rec.Type == dns.TypeA):
		return data, fmt.Errorf("%w: %s is an IPv%s address; its record is %s", ErrUsage, data,
			map[bool]string{true: "4", false: "6"}[addr.Unmap().Is4()], map[bool]string{true: "A", false: "AAAA"}[addr.Unmap().Is4()])
	}
	return addr.Unmap().String(), nil
}

// quote makes the strings of a TXT record of a text.
func quote(text string) string {
	var b strings.Builder
	for text != "" {
		n := min(len(text), maxString)
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteByte('"')
		b.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text[:n]))
		b.WriteByte('"')
		text = text[n:]
	}
	return b.String()
}

func parseRR(rec Record) (dns.RR, error) {
	kind := dns.TypeToString[rec.Type]
	rr, err := dns.NewRR(rec.Name + ". 0 IN " + kind + " " + rec.Data)
	if err != nil || rr == nil || rr.Header().Rrtype != rec.Type {
		return nil, fmt.Errorf("%w: %.80q is no data of a record of type %s, which has %s", ErrUsage, rec.Data, kind, map[uint16]string{
			dns.TypeA: "an IPv4 address", dns.TypeAAAA: "an IPv6 address", dns.TypeCNAME: "a name", dns.TypePTR: "a name",
			dns.TypeSRV: "a priority, a weight, a port and a name, such as `0 10 5672 rabbitmq`", dns.TypeTXT: "texts of up to 255 letters each",
		}[rec.Type])
	}
	if _, err := dns.PackRR(rr, make([]byte, dns.MaxMsgSize), 0, nil, false); err != nil {
		return nil, fmt.Errorf("%w: %.80q does not fit a DNS record: %w", ErrUsage, rec.Data, err)
	}
	return rr, nil
}

func dataOf(rr dns.RR) string { return strings.TrimPrefix(rr.String(), rr.Header().String()) }

// check tells whether a complete record is one, in the form that Parse gives.
func (r Record) check() error {
	if !slices.Contains(types, r.Type) {
		return fmt.Errorf("%w: type %d", ErrUsage, r.Type)
	}
	if r.TTL > maxTTL {
		return fmt.Errorf("%w: a TTL of %d seconds: %d is the most", ErrUsage, r.TTL, uint32(maxTTL))
	}
	if err := checkName(r.Name); err != nil {
		return err
	}
	data, err := fullData("", r)
	if err == nil && data != r.Data {
		err = fmt.Errorf("%w: %.80q stands for %.80q", ErrUsage, r.Data, data)
	}
	return err
}

// possible refuses records that can't do what they seem to.
func (r Record) possible(zone string) error {
	switch {
	case r.Name == "localhost" || strings.HasSuffix(r.Name, ".localhost"):
		return fmt.Errorf("%w: %s is every host itself (RFC 6761)", ErrUsage, r.Name)
	case r.Type == dns.TypeCNAME && r.Name == zone:
		return fmt.Errorf("%w: the zone's own name %s has other records, and a CNAME stands alone; give A or AAAA records", ErrClash, r.Name)
	case r.Type == dns.TypeCNAME && r.Data == r.Name+".":
		return fmt.Errorf("%w: %s leads to itself", ErrUsage, r.Name)
	case r.Type == dns.TypeSRV && !strings.HasPrefix(strings.TrimPrefix(r.Name, "*."), "_"):
		return fmt.Errorf("%w: an SRV record stands at _SERVICE._PROTOCOL.NAME, such as _amqp._tcp.%s", ErrUsage, r.Name)
	}
	return nil
}
