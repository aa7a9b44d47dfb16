package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dockstack/dockstack/test/lab"
	"github.com/dockstack/dockstack/test/stack"
)

const (
	// stackRounds is how often the slice comes up on each network.
	stackRounds = 7
	// loadClients ask Keystone at once, for loadSeconds.
	loadClients, loadSeconds = 8, 10
	proxyImage               = "dockstack/haproxy:1.0"
)

// stackCost brings the smallest OpenStack up on dockstack's network and on a bridge network in turn, in one host under
// one engine, each time with empty volumes: how long until all is healthy, what it takes of memory then, and how many
// tokens Keystone validates through HAProxy.
func stackCost(ctx context.Context, b *bench) (rows []row, err error) {
	s, err := stack.Start(ctx, stack.Options{Bare: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Stop(context.WithoutCancel(ctx))) }()
	c := &coster{bench: b, stack: s, host: s.Host(1), got: map[string]*stackFigures{"dockstack": {}, "bridge": {}}}
	if err := c.host.StandIn(ctx); err != nil {
		return nil, err
	}
	for i := range b.rounds(stackRounds) + 1 {
		order := []string{"dockstack", "bridge"}
		if i%2 == 1 {
			order = []string{"bridge", "dockstack"}
		}
		for _, driver := range order {
			// The first round finds files that are not in memory yet.
			if err := c.round(ctx, driver, i > 0); err != nil {
				return nil, fmt.Errorf("%s: %w", driver, err)
			}
		}
	}
	return c.rows(ctx)
}

// stackFigures are what the rounds on one network gave.
type stackFigures struct {
	seconds, memory, rate []float64
	containers            map[string]float64 // MiB, in the last round
}

type coster struct {
	bench *bench
	stack *stack.Stack
	host  *lab.Host
	got   map[string]*stackFigures
}

// round brings the slice up, looks at it, and removes all of it but what the engine knows of images.
func (c *coster) round(ctx context.Context, driver string, counts bool) (err error) {
	create := []string{"network", "create", "-d", driver, "--subnet", stack.Subnet}
	if driver != "bridge" {
		create = append(create, "--ipam-driver", driver)
	}
	if _, err := c.host.Docker(ctx, append(create, stack.Network)...); err != nil {
		return err
	}
	defer func() {
		_, rm := c.host.Docker(ctx, "network", "rm", stack.Network)
		err = errors.Join(err, rm)
	}()
	began := time.Now()
	if err := c.stack.UpAll(ctx, stack.Slice); err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	defer func() { err = errors.Join(err, c.stack.DownAll(ctx, stack.Slice, "-v")) }()
	containers, err := c.memory(ctx)
	if err != nil {
		return err
	}
	rate, err := c.rate(ctx)
	if err != nil {
		return fmt.Errorf("ask Keystone through HAProxy: %w", err)
	}
	sum := 0.0
	for _, mib := range containers {
		sum += mib
	}
	c.bench.sayf("%s: %.1f s, %.0f MiB, %.1f validations/s", driver, took, sum, rate)
	if f := c.got[driver]; counts {
		f.seconds, f.memory, f.rate = append(f.seconds, took), append(f.memory, sum), append(f.rate, rate)
		f.containers = containers
	}
	return nil
}

// memory is what docker stats says of each container, in MiB.
func (c *coster) memory(ctx context.Context) (map[string]float64, error) {
	out, err := c.host.Docker(ctx, "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}")
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 2 {
			return nil, fmt.Errorf("docker stats: %q", line)
		}
		mib, err := mebibytes(f[1])
		if err != nil {
			return nil, fmt.Errorf("docker stats: %s: %w", line, err)
		}
		all[strings.TrimSuffix(strings.TrimPrefix(f[0], "openstack-"), "-1")] = mib
	}
	return all, nil
}

// mebibytes reads what docker stats writes, as 1.25MiB.
func mebibytes(text string) (float64, error) {
	for unit, factor := range map[string]float64{"KiB": 1.0 / 1024, "MiB": 1, "GiB": 1024} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			v, err := strconv.ParseFloat(number, 64)
			return v * factor, err
		}
	}
	return 0, fmt.Errorf("%q is no size", text)
}

// rate is how many tokens a second Keystone validates, asked through HAProxy by clients in a container.
func (c *coster) rate(ctx context.Context) (rate float64, err error) {
	defer func() {
		_, rm := c.host.Docker(ctx, "rm", "-f", "proxy")
		err = errors.Join(err, rm)
	}()
	if _, err := c.host.Docker(ctx, "run", "-d", "--name", "proxy", "--network", stack.Network,
		"-e", "HTTP_SERVICES=keystone:5000", "-e", "TCP_SERVICES=", "-e", "FIRST_SERVICES=", proxyImage); err != nil {
		return 0, err
	}
	if err := c.stack.Healthy(ctx, time.Minute); err != nil {
		return 0, err
	}
	var last error
	for range 20 { // HAProxy is well before it knows its servers
		if _, last = c.load(ctx, 1); last == nil {
			return c.load(ctx, loadSeconds)
		}
	}
	return 0, last
}

func (c *coster) load(ctx context.Context, seconds int) (float64, error) {
	out, err := c.host.Docker(ctx, "run", "--rm", "--network", stack.Network,
		"--env-file", filepath.Join(c.stack.Root, "compose", "common.env"), lab.StandInImage,
		"token-load", "http://proxy:5000", fmt.Sprint(loadClients), fmt.Sprint(seconds))
	if err != nil {
		return 0, err
	}
	var did struct{ Validations, Seconds float64 }
	if err := json.Unmarshal([]byte(out), &did); err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	return did.Validations / did.Seconds, nil
}

func (c *coster) rows(ctx context.Context) ([]row, error) {
	ours, bridge := c.got["dockstack"], c.got["bridge"]
	images, err := c.sizes(ctx)
	if err != nil {
		return nil, err
	}
	var memory []string
	for _, name := range slices.Sorted(maps.Keys(ours.containers)) {
		memory = append(memory, fmt.Sprintf("%s %.0f", name, ours.containers[name]))
	}
	return []row{
		{
			what: "OpenStack's slice, from up to healthy", bound: atMost, target: 1.05, ratios: ratio(ours.seconds, bridge.seconds),
			ours: fmt.Sprintf("%.1f s", median(ours.seconds)), peer: fmt.Sprintf("%.1f s bridge", median(bridge.seconds)),
			note: "MB of the images as they are pulled (and unpacked), what they share counted in each: " + images,
		},
		{
			what: "memory of its containers", bound: atMost, target: 1.05, ratios: ratio(ours.memory, bridge.memory),
			ours: fmt.Sprintf("%.0f MiB", median(ours.memory)), peer: fmt.Sprintf("%.0f MiB bridge", median(bridge.memory)),
			note: "MiB: " + strings.Join(memory, ", "),
		},
		{
			what: "Keystone through HAProxy, tokens validated", bound: atLeast, target: 0.9, ratios: ratio(ours.rate, bridge.rate),
			ours: fmt.Sprintf("%.0f/s", median(ours.rate)), peer: fmt.Sprintf("%.0f/s bridge", median(bridge.rate)),
		},
	}, nil
}

// sizes lists the slice's images with their MB, as they are pulled and as they are on the disk.
func (c *coster) sizes(ctx context.Context) (string, error) {
	out, err := c.stack.Compose(ctx, c.host, []string{"docker-compose"}, "config", "--images")
	if err != nil {
		return "", err
	}
	var all []string
	for _, image := range slices.Sorted(slices.Values(strings.Fields(out))) {
		packed, err := c.host.Docker(ctx, "image", "inspect", "-f", "{{.Size}}", image)
		if err != nil {
			return "", err
		}
		layers, err := c.host.Docker(ctx, "history", "--human=false", "--format", "{{.Size}}", image)
		if err != nil {
			return "", err
		}
		pulled, err := megabytes(strings.Fields(packed))
		if err != nil {
			return "", err
		}
		unpacked, err := megabytes(strings.Fields(layers))
		if err != nil {
			return "", err
		}
		name, _, _ := strings.Cut(filepath.Base(image), ":")
		all = append(all, fmt.Sprintf("%s %.0f (%.0f)", name, pulled, unpacked))
	}
	return strings.Join(all, ", "), nil
}

// megabytes adds up numbers of bytes.
func megabytes(bytes []string) (float64, error) {
	sum := 0.0
	for _, b := range bytes {
		v, err := strconv.ParseFloat(b, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is no number of bytes", b)
		}
		sum += v / 1e6
	}
	return sum, nil
}
