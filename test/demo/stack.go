package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// services are the compose file's, in its order.
var services = []string{"mariadb", "rabbitmq", "memcached", "redis"}

// stack is the compose file on one network.
type stack struct {
	host    *lab.Host
	title   string
	network string
	project string
	seen    []sighting // one for each event
}

// sighting is where each service was found after an event.
type sighting struct {
	column string
	at     map[string]place // by service
}

type place struct{ addr, mac string }

func (s *stack) compose(ctx context.Context, args ...string) error {
	root, err := lab.Root()
	if err != nil {
		return err
	}
	file := filepath.Join(root, "test", "demo", "compose.yml")
	cmd := s.host.ComposeCommand(ctx, append([]string{"-f", file, "-p", s.project, "--progress", "quiet"}, args...)...)
	cmd.Env = append(cmd.Env, "DEMO_NETWORK="+s.network)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: docker-compose %s: %w: %s", s.title, strings.Join(args, " "), err, out)
	}
	return nil
}

// reorder stops all and starts them in the reverse of the file's order.
func (s *stack) reorder(ctx context.Context) error {
	if err := s.compose(ctx, "stop", "-t", "20"); err != nil {
		return err
	}
	for _, name := range slices.Backward(services) {
		if err := s.compose(ctx, "start", name); err != nil {
			return err
		}
	}
	return nil
}

func (s *stack) container(service string) string { return s.project + "-" + service + "-1" }

// healthy waits until every server has passed its own health check.
func (s *stack) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	format := "{{.State.Health.Status}}"
	for _, name := range services {
		for {
			out, err := s.host.Docker(ctx, "inspect", "-f", format, s.container(name))
			if err == nil && strings.TrimSpace(out) == "healthy" {
				break
			}
			select {
			case <-ctx.Done():
				logs, _ := s.host.DockerCommand(context.WithoutCancel(ctx), "logs", "--tail", "20", s.container(name)).CombinedOutput()
				return fmt.Errorf("%s on %s is %q, not healthy; its log ends with:\n%s", name, s.title, strings.TrimSpace(out), logs)
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	return nil
}

// note takes down every service's address and MAC.
func (s *stack) note(ctx context.Context, column string) error {
	at := map[string]place{}
	for _, name := range services {
		format := fmt.Sprintf(`{{with index .NetworkSettings.Networks %q}}{{.IPAddress}} {{.MacAddress}}{{end}}`, s.network)
		out, err := s.host.Docker(ctx, "inspect", "-f", format, s.container(name))
		if err != nil {
			return err
		}
		fields := strings.Fields(out)
		if len(fields) != 2 {
			return fmt.Errorf("%s has no address on %s: %q", s.container(name), s.network, out)
		}
		at[name] = place{addr: fields[0], mac: fields[1]}
	}
	s.seen = append(s.seen, sighting{column: column, at: at})
	return nil
}

// counts says how many addresses and MACs were compared, and how many were not those from before.
type counts struct{ compared, addrs, macs int }

func (s *stack) changes() counts {
	var n counts
	for i, now := range s.seen {
		if i == 0 {
			continue
		}
		for _, name := range services {
			n.compared++
			if now.at[name].addr != s.seen[0].at[name].addr {
				n.addrs++
			}
			if now.at[name].mac != s.seen[0].at[name].mac {
				n.macs++
			}
		}
	}
	return n
}

// interactive says whether a person looks at the file.
func interactive(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
}
