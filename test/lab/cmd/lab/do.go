package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/test/lab"
)

// do does something to a machine of the lab that is up.
func do(ctx context.Context, machine, deed string) error {
	l, err := lab.Attach(name())
	if err != nil {
		return err
	}
	deeds := map[string]map[string]func(context.Context) error{}
	for _, h := range l.Hosts {
		deeds[h.Name] = map[string]func(context.Context) error{
			"off": h.PowerOff, "on": h.PowerOn, "reboot": h.Reboot,
			"cut": h.Cut, "mend": h.Mend,
			"cut-etcd":  func(ctx context.Context) error { return h.CutEtcd(ctx) },
			"mend-etcd": func(ctx context.Context) error { return h.MendEtcd(ctx) },
		}
	}
	for _, m := range l.Etcd {
		deeds[m.Name] = map[string]func(context.Context) error{
			"stop": m.Stop, "start": m.Start, "kill": m.Kill9, "cut": m.Cut, "mend": m.Mend,
			"pause":  func(context.Context) error { return m.Pause() },
			"resume": func(context.Context) error { return m.Resume() },
		}
	}
	all, ok := deeds[machine]
	if !ok {
		return fmt.Errorf("no machine %q: the lab has %s", machine, known(deeds))
	}
	if all[deed] == nil {
		return fmt.Errorf("can't %q %s: can %s", deed, machine, known(all))
	}
	return all[deed](ctx)
}

func known[V any](m map[string]V) string { return strings.Join(slices.Sorted(maps.Keys(m)), ", ") }
