package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// built is what the engine knows of an image.
type built struct {
	Size     int64
	RepoTags []string
	Config   struct{ Labels map[string]string }
}

// inspect asks the engine for images, by their names. Those it hasn't got are left out, and so are all if there is no
// engine: building will say why.
func inspect(ctx context.Context, images []*image) map[string]*built {
	args := []string{"image", "inspect"}
	for _, i := range images {
		args = append(args, i.ref)
	}
	out, _ := exec.CommandContext(ctx, "docker", args...).Output() // fails if one is missing, and prints the others
	var found []*built
	if json.Unmarshal(out, &found) != nil {
		return nil
	}
	by := map[string]*built{}
	for _, one := range found {
		for _, tag := range one.RepoTags {
			by[tag] = one
		}
	}
	return by
}

var errInterrupted = errors.New("interrupted")

// execute runs one command. A signal ends it as Ctrl-C would: docker takes its build back then.
func (c command) execute(ctx context.Context, log *os.File) error {
	sayf(log, "+ %s\n", c)
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return fmt.Errorf("%s: %w", strings.Join(c.args[:min(2, len(c.args))], " "), err)
	}
	return nil
}

// checkLabels compares an image's labels with those of its Dockerfiles, and returns its size.
func checkLabels(ctx context.Context, i *image) (int64, error) {
	have := inspect(ctx, []*image{i})[i.ref]
	if have == nil {
		return 0, fmt.Errorf("docker build made no image %s", i.ref)
	}
	var wrong []string
	for key, want := range i.config().labels {
		if got, is := have.Config.Labels[key]; !is || got != want {
			wrong = append(wrong, fmt.Sprintf("%s is %q, not %q", key, got, want))
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return 0, fmt.Errorf("labels of %s are not those of its Dockerfile: %s", i.ref, strings.Join(wrong, ", "))
	}
	return have.Size, nil
}

// test/engine/base-image.sh gives this label to a Debian that it makes, and what is built on that inherits it.
const (
	baseLabel = "dockstack.base"
	madeHere  = "made-here"
)

// checkPush refuses what has this machine's settings of APT in it: credentials, proxies, private certificates.
func checkPush(ctx context.Context, i *image) error {
	have := inspect(ctx, []*image{i})[i.ref]
	if have == nil || have.Config.Labels[baseLabel] != madeHere { // docker push says what is missing
		return nil
	}
	bottom := i
	for bottom.parent != nil {
		bottom = bottom.parent
	}
	base := bottom.upstream()
	return fmt.Errorf("%s is not pushed: it stands on a %s that test/engine/base-image.sh made here, with this machine's APT credentials, proxies and certificates in it; "+
		"get the published one by docker pull %s, then build again (builder -c %s -under) and push", i.ref, base, base, i.name)
}

// tail is the end of a log.
func tail(path string, lines int) string {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimRight(text, "\n"), []byte("\n"))
	all = all[max(0, len(all)-lines):]
	return "    | " + string(bytes.Join(all, []byte("\n    | ")))
}

// remove takes the names away from the engine. Layers go with the last image that has them.
func remove(ctx context.Context, g *graph, o *options, out io.Writer) error {
	c := command{args: []string{"docker", "image", "rm"}}
	have := inspect(ctx, g.images)
	for _, i := range slices.Backward(g.images) {
		if have[i.ref] != nil {
			c.args = append(c.args, i.ref)
		}
	}
	if o.dryRun {
		sayf(out, "%s\n", c)
		return nil
	}
	count := len(c.args) - 3
	if count > 0 {
		if text, err := exec.CommandContext(ctx, c.args[0], c.args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("docker image rm: %w: %s", err, text)
		}
	}
	for _, i := range g.images {
		//nolint:gosec // the folder is the caller's choice
		if err := os.Remove(filepath.Join(o.logs, i.name+".log")); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	sayf(out, "%d images removed\n", count)
	return nil
}
