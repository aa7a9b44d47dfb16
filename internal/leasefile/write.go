package leasefile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
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
	Reservations []admin.Reservation `json:"reservations" yaml:"reservations"`
	Records      []admin.Record      `json:"records,omitempty" yaml:"records,omitempty"`
	Subnets      []netip.Prefix      `json:"subnets,omitempty" yaml:"subnets,omitempty"`
}

// Write makes a file of one of the Writable formats, and says what the format
// has no room for. What it makes depends on the content alone.
func Write(format string, c Content) ([]byte, []LeftOut, error) {
	own := ownFile{Reservations: append([]admin.Reservation{}, c.Reservations...), Records: c.Records, Subnets: c.Subnets}
	for i := range own.Reservations {
		own.Reservations[i].From = ""
	}
	switch format {
	case YAML:
		var out bytes.Buffer
		out.WriteString(ownHeader)
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
	aliases, reserved := map[string][]string{}, map[string]bool{}
	for _, r := range c.Reservations {
		reserved[r.Name] = true
	}
	var addresses []admin.Record
	for _, r := range c.Records {
		reason := unwritable(r)
		switch {
		case reason != "":
			w.leave(recordText(r), reason)
		case strings.HasPrefix(r.Name, "*."):
			w.leave(recordText(r), "a hosts file has no wildcards")
		case r.Type == "CNAME" && reserved[r.Value]:
			aliases[r.Value] = append(aliases[r.Value], r.Name)
		case r.Type == "A" || r.Type == "AAAA":
			addresses = append(addresses, r)
		default:
			w.leave(recordText(r), "a hosts file has addresses alone")
		}
	}
	w.unsaid(c.Reservations, "a hosts file has none")
	for _, r := range c.Reservations {
		if !containerName.MatchString(r.Name) {
			w.leave(r.Name+" "+r.Address.String(), "is no container's name")
			continue
		}
		w.line("%s", strings.Join(append([]string{r.Address.String(), r.Name}, aliases[r.Name]...), " "))
	}
	for _, r := range addresses {
		w.line("%s %s", r.Value, r.Name)
	}
}

// unsaid lists what reservations have and lines have no room for: MACs where
// noMAC says why, and overlays, without which an address may be another's. A
// subnet alone follows from the address.
func (w *textWriter) unsaid(all []admin.Reservation, noMAC string) {
	macs, pools := []string{}, map[string]int{}
	for _, r := range all {
		if r.MAC != "" {
			macs = append(macs, r.Name)
		}
		if strings.Contains(r.Pool, "@") {
			pools[r.Pool]++
		}
	}
	if n := len(macs); n > 0 && noMAC != "" {
		what := "the MAC of " + macs[0]
		if n > 1 {
			what = fmt.Sprintf("the MACs of %s and %d more", macs[0], n-1)
		}
		w.leave(what, noMAC)
	}
	for _, pool := range slices.Sorted(maps.Keys(pools)) {
		w.leave("the overlay of "+pool, fmt.Sprintf("it has %d of the addresses", pools[pool]))
	}
}

// dnsmasq writes dhcp-host lines and what dnsmasq has for records.
func (w *textWriter) dnsmasq(c Content) {
	w.unsaid(c.Reservations, "")
	for _, r := range c.Reservations {
		if h, err := parseDHCPHost(r.Name); err != nil || h.name != r.Name || strings.Contains(r.Name, ".") || !containerName.MatchString(r.Name) {
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
	}
	w.dnsmasqRecords(c.Records)
}
