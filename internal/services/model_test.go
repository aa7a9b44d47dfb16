package services

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

// Whatever containers, daemons and stores do, in the end every host says of
// every container what its engine says, and of no other.
func TestHostsAgreeInTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := kvtest.NewMemory()
		var hosts []*host
		engines := map[string]map[string]engine.Container{}
		for _, id := range []string{"a", "b", "c"} {
			hosts = append(hosts, newHost(t, id, m).start())
			engines[id] = map[string]engine.Container{}
		}
		// News are told by hand, so that each host may be behind as it likes.
		heard := func(h *host) {
			var ops []kv.Op
			for key, value := range m.Data() {
				ops = append(ops, kv.Op{Key: key, Value: value})
			}
			h.Learn(kv.Change{Whole: true, Ops: ops})
		}
		sees := func(h *host) { h.sees(slices.Collect(maps.Values(engines[h.id]))...) }
		t.Repeat(map[string]func(*rapid.T){
			"container": func(t *rapid.T) {
				h := rapid.SampledFrom(hosts).Draw(t, "host")
				c := drawContainer(t)
				engines[h.id][c.Name] = c
			},
			"removed": func(t *rapid.T) {
				h := rapid.SampledFrom(hosts).Draw(t, "host")
				delete(engines[h.id], drawName(t))
			},
			"seen":   func(t *rapid.T) { sees(rapid.SampledFrom(hosts).Draw(t, "host")) },
			"heard":  func(t *rapid.T) { heard(rapid.SampledFrom(hosts).Draw(t, "host")) },
			"writes": func(t *rapid.T) { _ = rapid.SampledFrom(hosts).Draw(t, "host").Flush(context.Background()) },
			"cut":    func(t *rapid.T) { rapid.SampledFrom(hosts).Draw(t, "host").shared.Cut() },
			"mended": func(t *rapid.T) { rapid.SampledFrom(hosts).Draw(t, "host").shared.Mend() },
			"lost":   func(t *rapid.T) { rapid.SampledFrom(hosts).Draw(t, "host").shared.LoseNext(kv.ErrAway) },
			"restart": func(t *rapid.T) {
				h := rapid.SampledFrom(hosts).Draw(t, "host")
				h.local = copyOf(m) // package copied sees to that
				h.start()
			},
		})
		for _, h := range hosts {
			h.shared.Mend()
			sees(h)
		}
		for _, h := range hosts {
			for h.Flush(context.Background()) != nil { // answers may be lost still
			}
		}
		want := naive(hosts, engines)
		for _, h := range hosts {
			heard(h)
			if got := answers(h.Now()); got != want {
				t.Fatalf("%s answers\n%s\nwant\n%s", h.id, got, want)
			}
			if len(h.index.shared) > len(engines["a"])+len(engines["b"])+len(engines["c"]) {
				t.Fatalf("%s keeps %d facts", h.id, len(h.index.shared))
			}
		}
	})
}

func copyOf(m *kvtest.Memory) *kvtest.Memory {
	out := kvtest.NewMemory()
	for key, value := range m.Data() {
		if err := out.Commit(context.Background(), []kv.Op{{Key: key, Value: value}}); err != nil {
			panic(err)
		}
	}
	return out
}

func drawName(t *rapid.T) string {
	return fmt.Sprintf("c%d", rapid.IntRange(1, 5).Draw(t, "container"))
}

// drawContainer is a running container: those that stopped are what they were.
func drawContainer(t *rapid.T) engine.Container {
	word := rapid.SampledFrom([]string{"web", "Web", "db", "my_app", "my-app", "My_app", ""})
	c := engine.Container{Name: drawName(t), Running: true, Service: word.Draw(t, "service"), Known: true}
	for n := range rapid.IntRange(1, 2).Draw(t, "networks") {
		c.On = append(c.On, engine.Attachment{
			Network: rapid.SampledFrom([]string{"n1", "n2", "bridge"}).Draw(t, "network"), Endpoint: fmt.Sprint(n),
			Aliases: rapid.SliceOfN(word, 0, 3).Draw(t, "aliases"),
		})
	}
	return c
}

// naive says what everybody should answer, from the engines alone.
func naive(hosts []*host, engines map[string]map[string]engine.Container) string {
	names, labels := map[string]map[string]bool{}, map[string]map[string]bool{}
	add := func(to map[string]map[string]bool, name, text string) {
		if to[name] == nil {
			to[name] = map[string]bool{}
		}
		to[name][text] = true
	}
	for _, h := range hosts {
		for _, c := range engines[h.id] {
			var pools []string
			for _, on := range c.On {
				pools = append(pools, poolsOf(on.Network)...)
			}
			if len(pools) == 0 {
				continue
			}
			slices.Sort(pools)
			pools = slices.Compact(pools)
			service := strings.ToLower(c.Service)
			byLabel := map[string]bool{} // all of its pools are there
			under := func(name string, pools []string) {
				text := fmt.Sprintf("%s/%s%v", h.id, c.Name, pools)
				add(names, name, text)
				if l := label(name); l != name && !byLabel[l] {
					add(labels, l, text)
				}
			}
			if service != "" {
				under(service, pools)
				byLabel[label(service)] = label(service) != service
			}
			for _, on := range c.On {
				for _, alias := range on.Aliases {
					if alias = strings.ToLower(alias); alias != "" && alias != service && alias != c.Name && poolsOf(on.Network) != nil {
						under(alias, poolsOf(on.Network))
					}
				}
			}
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(slices.Sorted(maps.Keys(names[name])), ", "))
		if l := label(name); l != name {
			fmt.Fprintf(&b, "%s by label: %s\n", l, strings.Join(slices.Sorted(maps.Keys(labels[l])), ", "))
		}
	}
	return b.String()
}
