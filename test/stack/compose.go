package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// upLimit bounds how long `docker-compose up --wait` waits for health. An idle machine takes a tenth of it for all of OpenStack.
const upLimit = 15 * time.Minute

// File is the path of a compose file of the project, by its name without the ending.
func (s *Stack) File(name string) string { return filepath.Join(s.Root, "compose", name+".yml") }

// Compose runs docker-compose on compose files, given by name, in a host. Paths may be given instead of names.
func (s *Stack) Compose(ctx context.Context, h *lab.Host, files []string, args ...string) (string, error) {
	cmd := h.ComposeCommand(ctx, append(s.composeFlags(files), args...)...)
	if len(s.env) > 0 {
		cmd.Env = append(cmd.Environ(), s.env...)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: docker-compose %s: %w: %s", h.Name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// with is the same stack with variables for docker-compose.
func (s *Stack) with(env []string) *Stack {
	other := *s
	other.env = slices.Concat(s.env, env)
	return &other
}

func (s *Stack) composeFlags(files []string) []string {
	// The folder of common.env and .env, wherever the first file is.
	flags := []string{"--project-directory", filepath.Join(s.Root, "compose"), "--progress", "quiet"}
	for _, f := range files {
		if !strings.Contains(f, "/") {
			f = s.File(f)
		}
		flags = append(flags, "-f", f)
	}
	return flags
}

// Up is `docker-compose up -d --wait`: it returns when all containers of the files are healthy. An error has the ends
// of the logs of those that are not.
func (s *Stack) Up(ctx context.Context, h *lab.Host, files []string, args ...string) error {
	all := append([]string{"up", "-d", "--wait", "--wait-timeout", fmt.Sprint(int(upLimit.Seconds()))}, args...)
	_, err := s.Compose(ctx, h, files, all...)
	if err != nil && strings.Contains(err.Error(), "unhealthy") {
		// Compose gives up on the first that is, though it may be well a moment later, as on a machine that is busy otherwise.
		err = s.healthy(ctx, upLimit, h)
	}
	if err != nil {
		return fmt.Errorf("%w%s", err, s.Unwell(context.WithoutCancel(ctx)))
	}
	return nil
}

// Down is `docker-compose down`; with "-v" the data goes as well.
func (s *Stack) Down(ctx context.Context, h *lab.Host, files []string, args ...string) error {
	_, err := s.Compose(ctx, h, files, append([]string{"down"}, args...)...)
	return err
}

// Healthy waits until every container on every host runs, and is healthy if it has a health check. Nobody touches
// anything meanwhile.
func (s *Stack) Healthy(ctx context.Context, limit time.Duration) error {
	return s.healthy(ctx, limit, s.Hosts...)
}

func (s *Stack) healthy(ctx context.Context, limit time.Duration, hosts ...*lab.Host) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		sick, err := ailing(ctx, hosts)
		if err == nil && len(sick) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			ctx := context.WithoutCancel(ctx)
			if sick, err = ailing(ctx, hosts); err != nil {
				return fmt.Errorf("not all well after %s: %w", limit, err)
			}
			return fmt.Errorf("after %s still not well: %s%s", limit, strings.Join(sick, ", "), s.Unwell(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ailing lists the containers that do not run, are not healthy, or have no network.
func ailing(ctx context.Context, hosts []*lab.Host) ([]string, error) {
	var out []string
	for _, h := range hosts {
		all, err := examine(ctx, h)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			out = append(out, "nothing on "+h.Name)
		}
		for _, p := range all {
			if p.ailment != "" {
				out = append(out, p.Name+" "+p.ailment)
			}
		}
	}
	return out, nil
}

// patient is a container with what is wrong with it; nothing if it is well.
type patient struct {
	lab.Container
	ailment string
}

// examine looks at every container of a host.
func examine(ctx context.Context, h *lab.Host) ([]patient, error) {
	all, err := h.Containers(ctx)
	if err != nil {
		return nil, err
	}
	namespace := map[string]string{} // by the container's id
	for _, c := range all {
		if c.State.Pid != 0 {
			// An error means that it has ended since, so that it is in nobody's namespace.
			namespace[c.ID], _ = os.Readlink(h.Path(fmt.Sprintf("/proc/%d/ns/net", c.State.Pid)))
		}
	}
	var out []patient
	for _, c := range all {
		p := patient{Container: c}
		owner, shares := strings.CutPrefix(c.HostConfig.NetworkMode, "container:")
		switch {
		case !c.State.Running:
			p.ailment = strings.TrimSpace("is " + c.State.Status + " " + c.State.Error)
		case c.State.Health != nil && c.State.Health.Status != "healthy":
			p.ailment = "is " + c.State.Health.Status
		case shares && (namespace[c.ID] == "" || namespace[c.ID] != namespace[owner]):
			p.ailment = "has no network: its namespace is not its owner's"
		}
		out = append(out, p)
	}
	return out, nil
}

// Unwell describes every container that is not well, with the end of its log.
func (s *Stack) Unwell(ctx context.Context) string {
	var text strings.Builder
	var errs []error
	for _, h := range s.Hosts {
		all, err := examine(ctx, h)
		errs = append(errs, err)
		for _, p := range all {
			if p.ailment == "" {
				continue
			}
			log, err := h.DockerCommand(ctx, "logs", "--tail", "30", p.Name).CombinedOutput()
			errs = append(errs, err)
			fmt.Fprintf(&text, "\n--- %s: %s %s; the end of its log:\n%s", h.Name, p.Name, p.ailment, log)
		}
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintf(&text, "\n%v", err)
	}
	return text.String()
}
