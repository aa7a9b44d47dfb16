package leasefile

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
)

// hostGroup is what names share that stand on one host-record.
type hostGroup struct {
	value string
	ttl   uint32
}

// lookup is what the lines of dnsmasq's configuration take together.
type lookup struct {
	// there are the addresses' records, without their TTL.
	there map[admin.Record]bool
	// hosts are the names of one host-record, in their order.
	hosts map[hostGroup][]string
	// back are the PTR records that a host-record stands for, without their TTL.
	back map[admin.Record]bool
}

func lookupOf(all []admin.Record) lookup {
	l := lookup{there: map[admin.Record]bool{}, hosts: map[hostGroup][]string{}, back: map[admin.Record]bool{}}
	for _, r := range all {
		if unwritable(r) != "" {
			continue
		}
		r.TTL = 0
		l.there[r] = true
	}
	for _, r := range all {
		if r.Type != "A" && r.Type != "AAAA" || unwritable(r) != "" || strings.HasPrefix(r.Name, "*.") || l.wild(r) {
			continue
		}
		group := hostGroup{r.Value, r.TTL}
		l.hosts[group] = append(l.hosts[group], r.Name)
		if addr, err := netip.ParseAddr(r.Value); err == nil && len(l.hosts[group]) == 1 {
			l.back[admin.Record{Name: reverse(addr), Type: "PTR", Value: target(r.Name)}] = true
		}
	}
	return l
}

// wild tells whether all names below r's have the same address.
func (l lookup) wild(r admin.Record) bool {
	return l.there[admin.Record{Name: "*." + r.Name, Type: r.Type, Value: r.Value}]
}

// dnsmasqRecords writes what dnsmasq has for records.
func (w *textWriter) dnsmasqRecords(all []admin.Record) {
	l := lookupOf(all)
	for _, r := range all {
		if reason := unwritable(r); reason != "" {
			w.leave(recordText(r), reason)
			continue
		}
		ttl := ""
		if r.TTL > 0 {
			ttl = fmt.Sprintf(",%d", r.TTL)
		}
		to := strings.TrimSuffix(r.Value, ".")
		switch r.Type {
		case "A", "AAAA":
			w.dnsmasqAddress(l, r, ttl)
		case "CNAME":
			w.line("cname=%s,%s%s", r.Name, to, ttl)
		case "PTR":
			if !l.back[admin.Record{Name: r.Name, Type: r.Type, Value: r.Value}] {
				w.line("ptr-record=%s,%s", r.Name, to)
			}
		case "SRV":
			w.dnsmasqService(r)
		case "TXT":
			texts, _ := parseTexts(r.Value) // unwritable saw that it can be
			for i := range texts {
				texts[i] = quoteText(texts[i])
			}
			w.line("txt-record=%s,%s", r.Name, strings.Join(texts, ","))
		default:
			w.leave(recordText(r), "dnsmasq's configuration has no line for the type")
		}
	}
}

// dnsmasqAddress writes a host-record for the first of its names, and one
// address= for a name and all below it.
func (w *textWriter) dnsmasqAddress(l lookup, r admin.Record, ttl string) {
	if below, wild := strings.CutPrefix(r.Name, "*."); wild {
		if l.there[admin.Record{Name: below, Type: r.Type, Value: r.Value}] {
			w.line("address=/%s/%s", below, r.Value)
		} else {
			w.line("address=/%s/%s", r.Name, r.Value)
		}
		return
	}
	if names := l.hosts[hostGroup{r.Value, r.TTL}]; !l.wild(r) && names[0] == r.Name {
		w.line("host-record=%s,%s%s", strings.Join(names, ","), r.Value, ttl)
	}
}

func (w *textWriter) dnsmasqService(r admin.Record) {
	f := strings.Fields(r.Value)
	w.line("srv-host=%s,%s,%s,%s,%s", r.Name, strings.TrimSuffix(f[3], "."), f[2], f[0], f[1])
}

// unwritable says why a record can't stand in a text file, or "". Records come
// from a file that anybody may have written.
func unwritable(r admin.Record) string {
	if !dnsName(strings.TrimPrefix(r.Name, "*.")) {
		return "is no name for a record"
	}
	to := strings.TrimSuffix(r.Value, ".")
	switch r.Type {
	case "A", "AAAA":
		if a, err := netip.ParseAddr(r.Value); err != nil || a.Zone() != "" {
			return "has no address"
		}
	case "CNAME", "PTR":
		if !dnsName(to) || strings.Trim(to, "0123456789") == "" {
			return "leads to no name"
		}
	case "SRV":
		f := strings.Fields(r.Value)
		if len(f) != 4 || !strings.HasPrefix(r.Name, "_") || !dnsName(strings.TrimSuffix(f[3], ".")) {
			return "is not _SERVICE._PROTOCOL.NAME with PRIORITY WEIGHT PORT TARGET"
		}
		for _, n := range f[:3] {
			if _, err := strconv.ParseUint(n, 10, 16); err != nil {
				return "has a number that is not 0 to 65535"
			}
		}
	case "TXT":
		if texts, ok := parseTexts(r.Value); !ok || strings.ContainsFunc(strings.Join(texts, ""), func(c rune) bool { return c < ' ' || c > '~' }) {
			return "has characters that are no plain text"
		}
	}
	return ""
}

// parseTexts takes the strings of a TXT record out of their quotes.
func parseTexts(data string) (texts []string, ok bool) {
	for data = strings.TrimSpace(data); data != ""; data = strings.TrimSpace(data) {
		text, rest, ok := cutText(data)
		if !ok {
			return nil, false
		}
		texts, data = append(texts, text), rest
	}
	return texts, len(texts) > 0
}

// cutText takes the first string off, in which \" and \092 stand for characters.
func cutText(data string) (text, rest string, ok bool) {
	if data[0] != '"' {
		return "", "", false
	}
	var out []byte
	for data = data[1:]; data != ""; {
		c := data[0]
		data = data[1:]
		switch {
		case c == '"':
			return string(out), data, true
		case c == '\\' && len(data) >= 3 && strings.Trim(data[:3], "0123456789") == "":
			n, err := strconv.ParseUint(data[:3], 10, 8)
			if err != nil {
				return "", "", false
			}
			c, data = byte(n), data[3:]
		case c == '\\' && data != "":
			c, data = data[0], data[1:]
		}
		out = append(out, c)
	}
	return "", "", false
}
