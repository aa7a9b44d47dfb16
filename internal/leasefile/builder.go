package leasefile

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/environment"
	"github.com/dockstack/dockstack/internal/nearest"
	"github.com/dockstack/dockstack/internal/yamldoc"
)

// builder gathers what a file has.
type builder struct {
	file    string
	out     Content
	leftOut []leftLine
	domains map[string]int
	// domain is the site's, "" where the file does not say.
	domain string
	wrong  yamldoc.Problems
	seen   map[held]int
	// recorded are the records of a name, by their place in out.
	recorded map[string][]int
}

// leftLine is what is left out, and its line, by which the whole is sorted.
type leftLine struct {
	line int
	LeftOut
}

// held is what a reservation is about; a second one says the same again.
type held struct {
	name    string
	addr    netip.Addr
	pool    string
	network string
}

// at is "file:line".
func (b *builder) at(line int) string {
	if line < 1 {
		return b.file
	}
	return fmt.Sprintf("%s:%d", b.file, line)
}

// leave notes what is not taken. The text is cut, and cleared of what a terminal
// would act on.
func (b *builder) leave(line int, what, reason string, args ...any) {
	b.leftOut = append(b.leftOut, leftLine{line, LeftOut{From: b.at(line), What: plain(what), Reason: fmt.Sprintf(reason, args...)}})
}

// reserve takes a name and its address, or leaves it out with the reason.
func (b *builder) reserve(line int, r admin.Reservation) {
	what := r.Name + " " + r.Address.String()
	switch reason := unusable(r.Address); {
	case reason != "":
		b.leave(line, what, "%s", reason)
		return
	case !containerName.MatchString(r.Name):
		b.leave(line, what, "%q can't be a container's name", plain(r.Name))
		return
	}
	r.From = b.at(line)
	key := held{r.Name, r.Address, r.Pool, r.Network}
	if i, again := b.seen[key]; again {
		first := &b.out.Reservations[i]
		switch {
		case first.MAC == "":
			first.MAC = r.MAC
		case r.MAC != "" && r.MAC != first.MAC:
			b.leave(line, what+" "+r.MAC, "the name has MAC %s by %s", first.MAC, first.From)
		}
		return
	}
	b.seen[key] = len(b.out.Reservations)
	b.out.Reservations = append(b.out.Reservations, r)
}

// record takes a DNS record; the same twice is one, and a CNAME stands alone.
func (b *builder) record(line int, r admin.Record) {
	r.Name = strings.ToLower(strings.TrimSuffix(r.Name, "."))
	for _, i := range b.recorded[r.Name] {
		switch old := b.out.Records[i]; {
		case old == r:
			return
		case old.Type == "CNAME" || r.Type == "CNAME":
			b.leave(line, recordText(r), "a CNAME stands alone at its name, and there is %s", plain(recordText(old)))
			return
		}
	}
	b.recorded[r.Name] = append(b.recorded[r.Name], len(b.out.Records))
	b.out.Records = append(b.out.Records, r)
}

// subnet notes a network that the file names.
func (b *builder) subnet(p netip.Prefix) {
	if p = p.Masked(); p.IsValid() && !slices.Contains(b.out.Subnets, p) {
		b.out.Subnets = append(b.out.Subnets, p)
	}
}

// bare is a host's name without its domain, which is counted.
func (b *builder) bare(name string) string {
	name = strings.TrimSuffix(name, ".")
	short, domain, found := strings.Cut(name, ".")
	if found && domain != "" {
		b.domains[strings.ToLower(domain)]++
		return short
	}
	return name
}

func (b *builder) result(format string) Result {
	b.out.Subnets = slices.DeleteFunc(b.out.Subnets, func(p netip.Prefix) bool { return !covers(p, b.out.Reservations) })
	domains := slices.SortedFunc(maps.Keys(b.domains), func(x, y string) int {
		return cmp.Or(cmp.Compare(b.domains[y], b.domains[x]), cmp.Compare(x, y))
	})
	slices.SortStableFunc(b.leftOut, func(x, y leftLine) int { return cmp.Compare(x.line, y.line) })
	out := Result{Format: format, Content: b.out, Domains: domains}
	for _, l := range b.leftOut {
		out.LeftOut = append(out.LeftOut, l.LeftOut)
	}
	return out
}

// containerName is what the engine takes as a container's name.
var containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// unusable says why no container can have an address, or "".
func unusable(a netip.Addr) string {
	switch {
	case a.IsUnspecified():
		return "is the address of nothing; it keeps a name from being found"
	case a.IsLoopback():
		return "is a loopback address: every host has it"
	case a.IsMulticast():
		return "is a group's address"
	case a.IsLinkLocalUnicast():
		return "is a link-local address, which every interface makes for itself"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is the broadcast address"
	}
	return ""
}

// parseAddr reads an address, and says what may have been meant where it is
// none.
func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err == nil {
		return a.Unmap().WithZone(""), nil
	}
	if meant := environment.Meant(text); meant.IsValid() {
		return netip.Addr{}, fmt.Errorf("%q is no address; did you mean %s?", plain(text), meant)
	}
	return netip.Addr{}, fmt.Errorf("%q is no address; one such as 172.16.0.2 or fd00::2 is wanted", plain(text))
}

// parseMAC reads a hardware address of Ethernet.
func parseMAC(text string) (string, error) {
	hw, err := net.ParseMAC(text)
	if err != nil || len(hw) != 6 {
		return "", fmt.Errorf("%q is no MAC address; six bytes such as 02:42:ac:10:00:02 are wanted", plain(text))
	}
	if hw[0]&1 != 0 || hw.String() == "00:00:00:00:00:00" {
		return "", fmt.Errorf("MAC address %s is a group's or empty", hw)
	}
	return hw.String(), nil
}

// plain is text that a terminal shows as it is, and not too much of it.
func plain(text string) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		if r == '\t' {
			return ' '
		}
		return '\uFFFD'
	}, text)
	if runes := []rune(clean); len(runes) > 160 {
		clean = string(runes[:160]) + "…"
	}
	return clean
}

func unknownFormat(format string, known []string) error {
	return fmt.Errorf("there is no format %q%s; there are %s", plain(format), nearest.Hint(format, known), strings.Join(known, ", "))
}

// lines are a text's lines with their numbers, without what is behind # and
// without empty ones.
func lines(data []byte, comment func(string) string) []textLine {
	var out []textLine
	n := 0
	for text := range strings.SplitSeq(string(data), "\n") {
		n++
		if text = strings.TrimSpace(comment(text)); text != "" {
			out = append(out, textLine{n, text})
		}
	}
	return out
}

type textLine struct {
	n    int
	text string
}

// hashComment cuts a line at its first #.
func hashComment(line string) string {
	text, _, _ := strings.Cut(line, "#")
	return text
}
