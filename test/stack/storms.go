package stack

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dockstack/dockstack/internal/heal"
	"github.com/dockstack/dockstack/test/lab"
)

// Storm is something that happens to a stack. After it nobody does anything but wait.
type Storm struct {
	Name string
	Do   func(ctx context.Context, s *Stack, w What) error
}

const scaleStorm = "scale 1, 3, 2, 1"

// FixedStorms are the storms of stacks whose services can't be scaled.
func FixedStorms() []Storm {
	return slices.DeleteFunc(slices.Clone(Storms), func(s Storm) bool { return s.Name == scaleStorm })
}

// Storms are what the stacks have to live through.
var Storms = []Storm{
	{"restart of all in random order", func(ctx context.Context, s *Stack, _ What) error {
		return s.onContainers(ctx, func(h *lab.Host, names []string) error {
			_, err := h.Docker(ctx, append([]string{"restart"}, shuffled(names)...)...)
			return err
		})
	}},
	{"stop all, start in random order", func(ctx context.Context, s *Stack, _ What) error {
		if err := s.onContainers(ctx, func(h *lab.Host, names []string) error {
			_, err := h.Docker(ctx, append([]string{"stop"}, names...)...)
			return err
		}); err != nil {
			return err
		}
		return s.onContainers(ctx, func(h *lab.Host, names []string) error { return startOnce(ctx, h, shuffled(names), nil) })
	}},
	{"kill -9 of every container", func(ctx context.Context, s *Stack, _ What) error {
		return s.Each(func(h *lab.Host) error { return killAll(ctx, h) })
	}},
	{"rm -f and up in another order", func(ctx context.Context, s *Stack, w What) error {
		if err := s.Each(func(h *lab.Host) error { return removeAll(ctx, h) }); err != nil {
			return err
		}
		return s.onAll(w, func(h *lab.Host, g Group) error {
			for _, file := range shuffled(g.Files) {
				if _, err := s.with(g.Env).Compose(ctx, h, []string{file}, "up", "-d"); err != nil {
					return err
				}
			}
			return nil
		})
	}},
	{"down and up", func(ctx context.Context, s *Stack, w What) error {
		if err := s.DownAll(ctx, w); err != nil {
			return err
		}
		return s.UpAll(ctx, w)
	}},
	{"up --force-recreate", func(ctx context.Context, s *Stack, w What) error {
		return s.UpAll(ctx, w, "--force-recreate")
	}},
	{scaleStorm, func(ctx context.Context, s *Stack, _ What) error {
		var scaled atomic.Int32
		err := s.Each(func(h *lab.Host) error {
			// What has no volume and publishes no port; all of OpenStack keeps tokens in it.
			found, err := h.Docker(ctx, "ps", "-q", "--filter", "label=com.docker.compose.service=memcached")
			if err != nil || strings.TrimSpace(found) == "" {
				return err // it is on another host
			}
			scaled.Add(1)
			for _, n := range []string{"3", "2", "1"} {
				if _, err := s.Compose(ctx, h, []string{"database"}, "up", "-d", "--scale", "memcached="+n, "memcached"); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil && scaled.Load() == 0 {
			err = errors.New("memcached runs on no host: nothing was scaled")
		}
		return err
	}},
	{"plugin kill -9", func(ctx context.Context, s *Stack, _ What) error {
		return s.Each(func(h *lab.Host) error { return h.KillPlugin(ctx) })
	}},
	{"plugin kill -9 during starts", func(ctx context.Context, s *Stack, _ What) error {
		return s.onContainers(ctx, func(h *lab.Host, names []string) error {
			if _, err := h.Docker(ctx, append([]string{"stop"}, names...)...); err != nil {
				return err
			}
			return killedDuring(ctx, h, func() error { return startOnce(ctx, h, shuffled(names), heal.Unanswered) })
		})
	}},
	{"plugin disable and enable", func(ctx context.Context, s *Stack, _ What) error {
		return s.Each(func(h *lab.Host) error {
			return plugin(ctx, h, [][]string{{"disable", "-f", lab.PluginName}, {"enable", lab.PluginName}})
		})
	}},
	{"plugin upgrade", func(ctx context.Context, s *Stack, _ What) error {
		return s.Each(func(h *lab.Host) error {
			ref, err := pushed(ctx, h)
			if err != nil {
				return err
			}
			return plugin(ctx, h, [][]string{
				{"disable", "-f", lab.PluginName},
				{"upgrade", "--grant-all-permissions", "--skip-remote-check", lab.PluginName, ref},
				{"enable", lab.PluginName},
			})
		})
	}},
	{"plugin rm and install", func(ctx context.Context, s *Stack, _ What) error {
		return s.Each(func(h *lab.Host) error {
			ref, err := pushed(ctx, h)
			if err != nil {
				return err
			}
			settings, err := h.StoreSettings(ctx)
			if err != nil {
				return err
			}
			install := []string{"install", "--grant-all-permissions", "--alias", lab.PluginName, ref}
			return plugin(ctx, h, [][]string{{"rm", "-f", lab.PluginName}, append(append(install, settings...), s.opts.Settings...)})
		})
	}},
	{"engine kill -9", func(ctx context.Context, s *Stack, _ What) error {
		return s.Each(func(h *lab.Host) error {
			if err := h.EngineKill9(ctx); err != nil {
				return err
			}
			return h.EngineStart(ctx)
		})
	}},
	{"engine restart", func(ctx context.Context, s *Stack, _ What) error {
		return s.Each(func(h *lab.Host) error { return h.EngineRestart(ctx) })
	}},
	{"reboot of one host after the other", func(ctx context.Context, s *Stack, _ What) error {
		for _, h := range s.Hosts {
			if err := h.Reboot(ctx); err != nil {
				return err
			}
		}
		return nil
	}},
	{"power-off of one host for a while", func(ctx context.Context, s *Stack, _ What) error {
		h := s.Hosts[rand.IntN(len(s.Hosts))]
		if err := h.PowerOff(ctx); err != nil {
			return err
		}
		select { // longer than it takes until the others give its names up
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Second):
		}
		return h.PowerOn(ctx)
	}},
	{"reboot of all hosts at once", func(ctx context.Context, s *Stack, _ What) error {
		if err := s.Each(func(h *lab.Host) error { return h.PowerOff(ctx) }); err != nil {
			return err
		}
		return s.Each(func(h *lab.Host) error { return h.PowerOn(ctx) })
	}},
}

// StormNamed returns a storm by its name.
func StormNamed(name string) Storm {
	for _, s := range Storms {
		if s.Name == name {
			return s
		}
	}
	panic("no storm is called " + name)
}

// onContainers does something with the names of each host's containers.
func (s *Stack) onContainers(ctx context.Context, do func(h *lab.Host, names []string) error) error {
	return s.Each(func(h *lab.Host) error {
		out, err := h.Docker(ctx, "ps", "-a", "--format", "{{.Names}}")
		if err != nil || strings.TrimSpace(out) == "" {
			return err
		}
		return do(h, strings.Fields(out))
	})
}

// killedDuring kills the plugin, and each successor that lived a second or two, while something is done. Those that live
// shorter the engine gives up.
func killedDuring(ctx context.Context, h *lab.Host, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	for range 4 {
		select {
		case err := <-done:
			return err
		case <-time.After(time.Second + rand.N(time.Second)):
		}
		err := h.KillPlugin(ctx)
		if err == nil {
			err = retry(ctx, time.Minute, func() error {
				if h.PluginPID() == 0 {
					return errors.New("the engine has not started the plugin again on " + h.Name)
				}
				return nil
			})
		}
		if err != nil {
			return errors.Join(err, <-done)
		}
	}
	return <-done
}

// startOnce starts containers, each once. Those that share another's network can't start before that runs, nor those of
// whose errors may is true, where it is given, and nobody tries again.
func startOnce(ctx context.Context, h *lab.Host, names []string, may func(text string) bool) error {
	var errs []error
	for _, name := range names {
		_, err := h.Docker(ctx, "start", name)
		if err == nil || strings.Contains(err.Error(), "network namespace of a non running container") || may != nil && may(err.Error()) {
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removeAll removes the containers of the compose files; their volumes stay.
func removeAll(ctx context.Context, h *lab.Host) error {
	out, err := h.Docker(ctx, "ps", "-aq", "--filter", "label=com.docker.compose.project")
	if err != nil || strings.TrimSpace(out) == "" {
		return err
	}
	_, err = h.Docker(ctx, append([]string{"rm", "-f"}, shuffled(strings.Fields(out))...)...)
	return err
}

// killAll kills process 1 of every container at once. The engine starts them again.
func killAll(ctx context.Context, h *lab.Host) error {
	out, err := h.Docker(ctx, "ps", "-q")
	if err != nil {
		return err
	}
	pids, err := h.Docker(ctx, append([]string{"inspect", "-f", "{{.State.Pid}}"}, strings.Fields(out)...)...)
	if err != nil {
		return err
	}
	_, err = h.Exec(ctx, append([]string{"kill", "-9"}, strings.Fields(pids)...)...)
	return err
}

func shuffled(names []string) []string {
	out := slices.Clone(names)
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
