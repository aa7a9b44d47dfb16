package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// pairs is how many containers of each network are measured, warm is how many
// pairs come before that and don't count.
const (
	pairs = 40
	warm  = 3
)

// twins are two networks that differ in nothing but the driver.
type twins struct {
	what   string
	args   []string
	target float64
}

// containers times `docker run --rm` of a program that ends at once, from the
// command's start to its end, on dockstack and on a bridge network in turn.
func containers(ctx context.Context, b *bench) (rows []row, err error) {
	l, err := lab.Start(ctx, lab.Options{ID: "bench"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Stop(context.WithoutCancel(ctx))) }()
	h := l.Host(1)
	var settings []string
	if b.trace != "" {
		settings = append(settings, "DOCKSTACK_LOG=debug")
	}
	if err := h.InstallPlugin(ctx, settings...); err != nil {
		return nil, err
	}
	if err := h.StandIn(ctx); err != nil {
		return nil, err
	}
	for i, t := range []twins{
		{"docker run on an --internal network", []string{"--internal"}, 1.05},
		{"docker run, with docker_gwbridge", nil, 1.4},
	} {
		r, err := t.measure(ctx, b, runner{host: h, number: i})
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	if b.trace != "" {
		return rows, copyFile(h.EngineLog(), b.trace)
	}
	return rows, nil
}

// runner runs containers on one host.
type runner struct {
	host   *lab.Host
	number int // of the pair of networks
}

func (r runner) network(driver string) string { return fmt.Sprintf("%s%d", driver, r.number) }

func (t twins) measure(ctx context.Context, b *bench, r runner) (row, error) {
	create := func(driver string, args ...string) error {
		all := append([]string{"network", "create", "-d", driver}, args...)
		_, err := r.host.Docker(ctx, append(append(all, t.args...), r.network(driver))...)
		return err
	}
	if err := errors.Join(create("dockstack", "--ipam-driver", "dockstack"), create("bridge")); err != nil {
		return row{}, err
	}
	took := map[string][]float64{}
	for i := range warm + b.rounds(pairs) {
		// Whoever comes first finds other caches than who comes second.
		order := []string{"dockstack", "bridge"}
		if i%2 == 1 {
			order = []string{"bridge", "dockstack"}
		}
		for _, driver := range order {
			d, err := r.container(ctx, r.network(driver))
			if err != nil {
				return row{}, err
			}
			if i >= warm {
				took[driver] = append(took[driver], d.Seconds()*1000)
			}
		}
	}
	return row{
		what: t.what, bound: atMost, target: t.target, ratios: ratio(took["dockstack"], took["bridge"]),
		ours: fmt.Sprintf("%.0f ms", median(took["dockstack"])), peer: fmt.Sprintf("%.0f ms bridge", median(took["bridge"])),
	}, nil
}

// container runs one container to its end.
func (r runner) container(ctx context.Context, network string) (time.Duration, error) {
	began := time.Now()
	// The same name each time, as a service's is: its lease is known.
	out, err := r.host.Docker(ctx, "run", "--rm", "--name", "once-"+network, "--network", network, lab.StandInImage, "ifaces")
	took := time.Since(began)
	if err == nil && !strings.Contains(out, `"eth0"`) {
		err = fmt.Errorf("a container on %s has no eth0: %s", network, out)
	}
	return took, err
}
