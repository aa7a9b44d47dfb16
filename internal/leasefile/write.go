package leasefile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dockstack/dockstack/internal/admin"
)

const ownHeader = `# Leases of dockstack: addresses that are kept for container names, and DNS records.
# "dockstack import --dry-run FILE" shows what taking this in would change,
# "dockstack import FILE" takes it in, all or nothing.
`

// ownFile is our own export as it stands in a file.
type ownFile struct {
	Reservations []admin.Reservation `json:"reservations,omitempty" yaml:"reservations,omitempty"`
	Records      []admin.Record      `json:"records,omitempty" yaml:"records,omitempty"`
	Subnets      []netip.Prefix      `json:"subnets,omitempty" yaml:"subnets,omitempty"`
}

// Write makes a file of one of the Writable formats, and says what the format
// has no room for. What it makes depends on the content alone.
func Write(format string, c Content) ([]byte, []LeftOut, error) {
	own := ownFile{Reservations: slices.Clone(c.Reservations), Records: c.Records, Subnets: c.Subnets}
	for i := range own.Reservations {
		own.Reservations[i].From = ""
	}
	switch format {
	case YAML:
		var out bytes.Buffer
		out.WriteString(ownHeader)
		if len(own.Reservations)+len(own.Records)+len(own.Subnets) == 0 {
			out.WriteString("reservations: []\n")
			return out.Bytes(), nil, nil
		}
		enc := yaml.NewEncoder(&out)
		enc.SetIndent(2)
		if err := enc.Encode(own); err != nil {
			return nil, nil, fmt.Errorf("write leases as YAML: %w", err)
		}
		return out.Bytes(), nil, enc.Close()
	case JSON:
		out, err := json.MarshalIndent(own, "", "  ")
		if err != nil {
			return nil, nil, fmt.Errorf("write leases as JSON: %w", err)
		}
		return append(out, '\n'), nil, nil
	case Hosts:
		w := textWriter{header: "# Leases of dockstack as a hosts file: an address, the container's name, other names.\n"}
		w.hosts(c)
		return w.bytes(), w.leftOut, nil
	case DnsmasqConf:
		w := textWriter{header: "# Leases of dockstack as dnsmasq's configuration.\n"}
		w.dnsmasq(c)
		return w.bytes(), w.leftOut, nil
	}
	return nil, nil, unknownFormat(format, Writable)
}

// textWriter writes lines, and says at their head what is not among them.
type textWriter struct {
	header  string
	lines   bytes.Buffer
	leftOut []LeftOut
}

func (w *textWriter) line(format string, args ...any) {
	fmt.Fprintf(&w.lines, format+"\n", args...)
}

func (w *textWriter) leave(what, reason string) {
	w.leftOut = append(w.leftOut, LeftOut{What: plain(what), Reason: reason})
}

func (w *textWriter) bytes() []byte {
	var out bytes.Buffer
	out.WriteString(w.header)
	for _, l := range w.leftOut {
		fmt.Fprintf(&out, "# Not in here: %s: %s.\n", l.What, l.Reason)
	}
	out.Write(w.lines.Bytes())
	return out.Bytes()
}

// recordText is a record as people write it.
func recordText(r admin.Record) string { return r.Name + " " + r.Type + " " + r.Value }

// hosts writes a line for each address, with the names that lead to its name.
func (w *textWriter) hosts(c Content) {
	aliases := map[string][]string{}
	var addresses []admin.Record
	for _, r := range c.Records {
		switch {
		case strings.HasPrefix(r.Name, "*."):
			w.leave(recordText(r), "a hosts file has no wildcards")
		case r.Type == "CNAME" && slices.ContainsFunc(c.Reservations, func(v admin.Reservation) bool { return v.Name == r.Value }):
			aliases[r.Value] = append(aliases[r.Value], r.Name)
		case r.Type == "A" || r.Type == "AAAA":
			addresses = append(addresses, r)
		default:
			w.leave(recordText(r), "a hosts file has addresses alone")
		}
	}
	for _, r := range c.Reservations {
		w.line("%s", strings.Join(append([]string{r.Address.String(), r.Name}, aliases[r.Name]...), " "))
		w.unsaid(r, r.MAC)
	}
	for _, r := range addresses {
		w.line("%s %s", r.Value, r.Name)
	}
}

// unsaid lists what a reservation has and a line has no room for.
func (w *textWriter) unsaid(r admin.Reservation, mac string) {
	for _, x := range []struct{ what, value string }{{"MAC", mac}, {"pool", r.Pool}, {"network", r.Network}} {
		if x.value != "" {
			w.leave(r.Name+" "+r.Address.String(), "its "+x.what+" is "+plain(x.value))
		}
	}
}

// dnsmasq writes dhcp-host lines and what dnsmasq has for records.
func (w *textWriter) dnsmasq(c Content) {
	for _, r := range c.Reservations {
		if h, err := parseDHCPHost(r.Name); err != nil || h.name != r.Name || strings.Contains(r.Name, ".") {
			w.leave(r.Name+" "+r.Address.String(), "dnsmasq would take the name for something else, or cut it")
			continue
		}
		addr := r.Address.String()
		if r.Address.Is6() {
			addr = "[" + addr + "]"
		}
		if r.MAC != "" {
			w.line("dhcp-host=%s,%s,%s", r.MAC, addr, r.Name)
		} else {
			w.line("dhcp-host=%s,%s", addr, r.Name)
		}
		w.unsaid(r, "")
	}
	has := func(name, kind, value string) bool {
		return slices.ContainsFunc(c.Records, func(o admin.Record) bool { return o.Name == name && o.Type == kind && o.Value == value })
	}
	for _, r := range c.Records {
		ttl := ""
		if r.TTL > 0 {
			ttl = fmt.Sprintf(",%d", r.TTL)
		}
		below, wild := strings.CutPrefix(r.Name, "*.")
		switch r.Type {
		case "A", "AAAA":
			switch {
			case wild && has(below, r.Type, r.Value):
				w.line("address=/%s/%s", below, r.Value)
			case wild:
				w.line("address=/%s/%s", r.Name, r.Value)
			case !has("*."+r.Name, r.Type, r.Value):
				w.line("host-record=%s,%s%s", r.Name, r.Value, ttl)
			}
		case "CNAME":
			w.line("cname=%s,%s%s", r.Name, strings.TrimSuffix(r.Value, "."), ttl)
		case "PTR":
			if !impliedPTR(r, c.Records) {
				w.line("ptr-record=%s,%s", r.Name, strings.TrimSuffix(r.Value, "."))
			}
		case "SRV":
			var priority, weight, port uint16
			var to string
			if _, err := fmt.Sscanf(r.Value, "%d %d %d %s", &priority, &weight, &port, &to); err != nil {
				w.leave(recordText(r), "is not PRIORITY WEIGHT PORT TARGET")
				continue
			}
			w.line("srv-host=%s,%s,%d,%d,%d", r.Name, strings.TrimSuffix(to, "."), port, priority, weight)
		case "TXT":
			w.line("txt-record=%s,%s", r.Name, strings.ReplaceAll(r.Value, `" "`, `","`))
		default:
			w.leave(recordText(r), "dnsmasq's configuration has no line for the type")
		}
	}
}

// impliedPTR tells whether a host-record that is written leads back by itself.
func impliedPTR(r admin.Record, all []admin.Record) bool {
	return slices.ContainsFunc(all, func(o admin.Record) bool {
		if o.Type != "A" && o.Type != "AAAA" || strings.HasPrefix(o.Name, "*.") {
			return false
		}
		a, err := netip.ParseAddr(o.Value)
		return err == nil && reverse(a) == r.Name && target(o.Name) == r.Value
	})
}
