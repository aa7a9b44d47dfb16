package leasefile

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/yamldoc"
)

// textFormats are those whose lines are looked at.
var textFormats = []string{DnsmasqLeases, Hosts, DnsmasqConf, DnsmasqHosts}

// detect finds out a file's format: by what it has, and by its name where that
// leaves a choice.
func detect(name string, data []byte) (string, error) {
	hint := byName(filepath.Base(name))
	switch hint {
	case YAML, JSON, Compose, Environment:
		return byKeys(name, data, hint)
	}
	all := lines(data, confComment)
	if len(all) == 0 {
		if hint == "" {
			return "", fmt.Errorf("%s: nothing is in it", name)
		}
		return hint, nil
	}
	// A file without a telling name may be YAML all the same.
	if hint == "" && yamlish(data) {
		return byKeys(name, data, hint)
	}
	left := textFormats
	for _, l := range all {
		fits := slices.DeleteFunc(slices.Clone(left), func(f string) bool { return !fits(f, l.text) })
		if len(fits) == 0 {
			if hint != "" {
				return hint, nil // whose reader says what is wrong with the line
			}
			if len(left) == len(textFormats) {
				return "", fmt.Errorf("%s:%d: %q fits none of the formats: %s; if it is one of them, say which with --format", name, l.n, plain(l.text), strings.Join(Readable, ", "))
			}
			return "", fmt.Errorf("%s:%d: %q does not fit the lines before it, which may be %s; if that is what it is, say --format %s", name, l.n, plain(l.text), strings.Join(left, " or "), left[0])
		}
		left = fits
	}
	switch {
	case len(left) == 1:
		return left[0], nil
	case slices.Contains(left, hint):
		return hint, nil
	}
	return "", fmt.Errorf("%s: it may be one of %s: say --format %s", name, strings.Join(left, ", "), left[0])
}

// byName is the format that a file's name suggests, or "".
func byName(base string) string {
	base = strings.ToLower(base)
	ext := filepath.Ext(base)
	switch {
	case ext == ".json":
		return JSON
	case ext == ".yaml" || ext == ".yml":
		switch {
		case strings.Contains(base, "compose"):
			return Compose
		case strings.HasPrefix(base, "environment"):
			return Environment
		}
		return YAML
	case strings.HasSuffix(base, "leases"):
		return DnsmasqLeases
	case base == "hosts" || ext == ".hosts" || ext == ".dns" || strings.HasPrefix(base, "addn"):
		return Hosts
	case strings.Contains(base, "dhcp-hosts") || strings.Contains(base, "dhcp_hosts"):
		return DnsmasqHosts
	case ext == ".conf":
		return DnsmasqConf
	}
	return ""
}

// yamlish tells whether data is a mapping with one of the keys that we look for.
func yamlish(data []byte) bool {
	doc, err := yamldoc.Parse("", data)
	if err != nil {
		return false
	}
	return len(keysOf(doc)) > 0
}

// formatKeys are the keys by which formats of YAML are told apart.
var formatKeys = map[string]string{
	"reservations": YAML, "records": YAML, "subnets": YAML,
	"services": Compose, "include": Compose,
	"containers": Environment, "containerhosts": Environment, "containerdefault": Environment, "registered_services": Environment,
}

// keysOf are the formats that a document's keys stand for, each with the first
// such key.
func keysOf(doc *yamldoc.Doc) map[string]string {
	found := map[string]string{}
	pairs, _ := doc.Top().Map()
	for _, p := range pairs {
		if f, ok := formatKeys[p.Key]; ok && found[f] == "" {
			found[f] = p.Key
		}
	}
	return found
}

// byKeys tells the formats of YAML apart. A broken file is its reader's to
// complain of, if its name says whose.
func byKeys(name string, data []byte, hint string) (string, error) {
	doc, err := yamldoc.Parse(name, data)
	if err != nil {
		return "", err
	}
	found := keysOf(doc)
	switch len(found) {
	case 0:
		if hint == Compose || hint == Environment {
			return hint, nil
		}
		return "", fmt.Errorf("%s: none of the keys that tell what it is: reservations (our export), services (a compose file), containers (environment.yaml)", name)
	case 1:
		for f := range found {
			if f == YAML && hint == JSON {
				f = JSON
			}
			return f, nil
		}
	}
	var all []string
	for _, f := range []string{YAML, Compose, Environment} {
		if key, ok := found[f]; ok {
			all = append(all, fmt.Sprintf("`%s:`, which %s has", key, f))
		}
	}
	return "", fmt.Errorf("%s: it has %s: say --format %s, or mend the file", name, strings.Join(all, " and "), cmp.Or(hint, YAML))
}

var (
	optionLine = regexp.MustCompile(`^(--)?[a-z][a-zA-Z0-9-]*[a-zA-Z0-9]( *=.*)?$`)
	number     = regexp.MustCompile(`^[0-9]+$`)
)

// fits tells whether a line may stand in a file of a format. Wrong addresses are
// let through, so that they are named as such.
func fits(format, line string) bool {
	fields := strings.Fields(line)
	switch format {
	case DnsmasqLeases:
		if fields[0] == "duid" {
			return len(fields) == 2
		}
		return len(fields) >= 4 && number.MatchString(fields[0]) && !strings.ContainsAny(line, "=,")
	case Hosts:
		_, err := netip.ParseAddr(fields[0])
		looks := strings.Count(fields[0], ".") == 3 && strings.Trim(fields[0], "0123456789.") == ""
		return (err == nil || looks) && !strings.ContainsAny(line, "=,")
	case DnsmasqConf:
		option, _ := cutOption(line)
		return optionLine.MatchString(line) && (strings.Contains(line, "=") || slices.Contains(others, option))
	}
	if strings.Contains(line, "=") || !strings.Contains(line, ",") {
		return false
	}
	for part := range strings.SplitSeq(line, ",") {
		if strings.ContainsAny(strings.TrimSpace(part), " \t") {
			return false // no name has a space
		}
	}
	return true
}
