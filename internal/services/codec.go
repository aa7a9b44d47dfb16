package services

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what is kept of one container. What goes beyond is left out by the
// host that writes it, and by those that read it.
const (
	maxValue    = 128 << 10
	maxNetworks = 64
	maxPools    = 8
	maxAliases  = 128
	maxPorts    = 256
	maxName     = 253
	// maxText is how many bytes all names have; JSON may double them.
	maxText = 48 << 10
)

var (
	errKey   = errors.New("it is no key of a host's container")
	errValue = errors.New("it is not what dockstack writes")
)

// Port is one that a container exposes or publishes.
type Port struct {
	Number uint16
	// Proto is "tcp", "udp" or "sctp".
	Proto string
}

// On is a network that a container is on.
type On struct {
	// Pools are the ids of the network's pools, the same on every host.
	Pools []string `json:"pools"`
	// Aliases are the names that the user gave the container there, in lower
	// case.
	Aliases []string `json:"aliases,omitempty"`
}

// Facts are what is known of a container. They are never changed.
type Facts struct {
	// Project and Service are what compose calls it.
	Project, Service string
	On               []On
	Ports            []Port
	// Out: it is to be left out where others can stand in for it.
	Out bool
}

// wire is Facts in the store. Later versions add to it.
type wire struct {
	Project string   `json:"project,omitempty"`
	Service string   `json:"service,omitempty"`
	On      []On     `json:"on,omitempty"`
	Ports   []string `json:"ports,omitempty"`
	Out     bool     `json:"out,omitempty"`
}

// encode makes equal values of equal facts.
func (f *Facts) encode() []byte {
	f.tidy()
	w := wire{Project: f.Project, Service: f.Service, On: f.On, Out: f.Out}
	for _, p := range f.Ports {
		w.Ports = append(w.Ports, strconv.Itoa(int(p.Number))+"/"+p.Proto)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(w); err != nil {
		panic(err) // it has texts and a bool
	}
	return bytes.TrimSpace(b.Bytes())
}

func decode(value []byte) (*Facts, error) {
	if len(value) > maxValue {
		return nil, fmt.Errorf("%w: %d bytes", errValue, len(value))
	}
	var w wire
	if err := json.Unmarshal(value, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", errValue, err)
	}
	f := &Facts{Project: w.Project, Service: w.Service, On: w.On, Out: w.Out}
	for _, text := range w.Ports {
		if p, ok := parsePort(text); ok {
			f.Ports = append(f.Ports, p)
		}
	}
	f.tidy()
	return f, nil
}

// parsePort reads "5672/tcp"; protocols of later versions are passed over.
func parsePort(text string) (Port, bool) {
	number, proto, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	p := Port{Number: uint16(n), Proto: proto}
	return p, err == nil && p.usable()
}

func (p Port) usable() bool {
	return p.Number != 0 && (p.Proto == "tcp" || p.Proto == "udp" || p.Proto == "sctp")
}

// tidy puts facts in order and within bounds.
func (f *Facts) tidy() {
	f.Project, f.Service = named(f.Project), named(f.Service)
	f.Ports = slices.DeleteFunc(slices.Clone(f.Ports), func(p Port) bool { return !p.usable() })
	slices.SortFunc(f.Ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Proto, b.Proto))
	})
	f.Ports = most(slices.Compact(f.Ports), maxPorts)
	f.On = tidyOn(f.On)
}

func tidyOn(all []On) []On {
	var out []On
	for _, on := range all {
		on.Pools = most(tidyNames(on.Pools), maxPools)
		if len(on.Pools) == 0 {
			continue
		}
		on.Aliases = slices.Clone(on.Aliases)
		for i, alias := range on.Aliases {
			on.Aliases[i] = strings.ToLower(alias)
		}
		same := slices.IndexFunc(out, func(o On) bool { return slices.Equal(o.Pools, on.Pools) })
		if same >= 0 {
			out[same].Aliases = append(out[same].Aliases, on.Aliases...)
			continue
		}
		out = append(out, on)
	}
	slices.SortFunc(out, func(a, b On) int { return slices.Compare(a.Pools, b.Pools) })
	out = most(out, maxNetworks)
	room, text := maxAliases, maxText
	for i := range out {
		on := &out[i]
		if text -= size(on.Pools); text < 0 {
			return most(out, i)
		}
		on.Aliases = most(tidyNames(on.Aliases), room)
		for size(on.Aliases) > text {
			on.Aliases = most(on.Aliases, len(on.Aliases)-1)
		}
		room -= len(on.Aliases)
		text -= size(on.Aliases)
	}
	return out
}

func size(all []string) int {
	n := 0
	for _, s := range all {
		n += len(s)
	}
	return n
}

func tidyNames(all []string) []string {
	out := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return named(s) == "" })
	slices.Sort(out)
	return slices.Clip(slices.Compact(out))
}

// named returns the name, "" for what nobody can ask for.
func named(name string) string {
	if len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }) {
		return ""
	}
	return name
}

func most[T any](all []T, n int) []T { return slices.Clip(all[:min(len(all), max(n, 0))]) }
