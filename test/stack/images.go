package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/test/lab"
)

// imageParts are the folders of an engine that have its images: what they consist of, unpacked and as they came, and
// which there are.
var imageParts = []string{
	"io.containerd.content.v1.content",
	"io.containerd.metadata.v1.bolt",
	"io.containerd.snapshotter.v1.overlayfs",
}

// templateName names the folder of the lab whose only host has the images.
const templateName = "stack-images"

// template is the folder that lab hosts get their images from.
type template struct{ dir string }

func newTemplate() (template, error) {
	root, err := lab.Root()
	if err != nil {
		return template{}, err
	}
	return template{filepath.Join(root, "build", templateName)}, nil
}

// list is the file that says which images are in, by name, with the ids that their builder gave them.
func (t template) list() string { return filepath.Join(t.dir, "images.json") }

// daemon is where an engine keeps what belongs to images, in the folder of a lab host.
func daemon(host string) string {
	return filepath.Join(host, "varlib", "docker", "containerd", "daemon")
}

// lock takes a file lock beside the template, until unlock is called: ".lock" shared by who reads it and alone by who
// replaces it, ".sync" alone by who makes its successor.
func (t template) lock(name string, how int) (unlock func(), err error) {
	f, err := os.OpenFile(t.dir+name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}

// images reads which images are in.
func (t template) images() (map[string]string, error) {
	b, err := os.ReadFile(t.list())
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	have := map[string]string{}
	if err := json.Unmarshal(b, &have); err != nil {
		return nil, fmt.Errorf("%s: %w: remove it, to copy all images again", t.list(), err)
	}
	return have, nil
}

// built lists what the engine that DOCKER_HOST names has built, by name, with the ids.
func built(ctx context.Context) (map[string]string, error) {
	out, err := docker(ctx, "image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", registry()+"/*")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 && !strings.Contains(f[0], "<none>") {
			all[f[0]] = f[1]
		}
	}
	return all, nil
}

// docker runs a docker command against the engine that DOCKER_HOST names.
func docker(ctx context.Context, args ...string) (string, error) {
	bin, err := lab.EngineBin()
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "docker"), args...).Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("docker %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// Sync brings what the engine that DOCKER_HOST names has built into the template, or only what is named, and returns
// the names of the images that were new or other than before.
func Sync(ctx context.Context, only ...string) ([]string, error) {
	t, err := newTemplate()
	if err != nil {
		return nil, err
	}
	unlock, err := t.lock(".sync", unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer unlock()
	have, err := t.images()
	if err != nil {
		return nil, err
	}
	want, err := built(ctx)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have[name] != want[name] && (len(only) == 0 || slices.Contains(only, name)) {
			missing = append(missing, name)
			have[name] = want[name]
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	if err := t.succeed(ctx, have, missing); err != nil {
		return nil, fmt.Errorf("copy images: %w", err)
	}
	return missing, nil
}

// succeed makes a successor that has the missing images as well, and puts it in the template's place. Until then hosts
// are made from the old one.
func (t template) succeed(ctx context.Context, have map[string]string, missing []string) error {
	next, old := template{t.dir + ".next"}, t.dir+".old"
	if err := errors.Join(os.RemoveAll(next.dir), os.RemoveAll(old)); err != nil {
		return err
	}
	if _, err := os.Stat(t.list()); err == nil {
		if err := t.link(ctx, filepath.Join(next.dir, "h1")); err != nil {
			return err
		}
	}
	if err := next.load(ctx, missing); err != nil {
		return err
	}
	b, err := json.MarshalIndent(have, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(next.list(), b, 0o600); err != nil {
		return err
	}
	unlock, err := t.lock(".lock", unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.Rename(t.dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(os.Rename(next.dir, t.dir), os.RemoveAll(old))
}

// load starts an engine on the template and copies images into it, all at once, since they share most layers.
func (t template) load(ctx context.Context, names []string) (err error) {
	l, err := lab.Start(ctx, lab.Options{Dir: t.dir, Keep: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Stop(context.WithoutCancel(ctx))) }()
	bin, err := lab.EngineBin()
	if err != nil {
		return err
	}
	h := l.Host(1)
	save := exec.CommandContext(ctx, filepath.Join(bin, "docker"), append([]string{"save"}, names...)...)
	load := h.DockerCommand(ctx, "load", "-q")
	var said, loaded strings.Builder
	save.Stderr, load.Stderr = &said, &loaded
	if load.Stdin, err = save.StdoutPipe(); err != nil {
		return err
	}
	if err := save.Start(); err != nil {
		return err
	}
	err = load.Run()
	if werr := save.Wait(); err != nil || werr != nil {
		return fmt.Errorf("docker save: %w: %s; docker load: %w: %s", werr, said.String(), err, loaded.String())
	}
	if _, err := h.Docker(ctx, "image", "prune", "-f"); err != nil { // what had the names before
		return err
	}
	return h.EngineStop(ctx)
}

// link gives a lab host that is yet to start, by its folder, all images of the template.
func (t template) link(ctx context.Context, host string) error {
	from, to := daemon(filepath.Join(t.dir, "h1")), daemon(host)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, part := range imageParts {
		src := filepath.Join(from, part)
		if out, err := exec.CommandContext(ctx, "cp", "-al", src, to).CombinedOutput(); err != nil {
			return fmt.Errorf("link %s: %w: %s", src, err, out)
		}
	}
	// Databases are written in place, so each engine has its own.
	for _, part := range imageParts {
		files, err := filepath.Glob(filepath.Join(to, part, "*.db"))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := unlink(file); err != nil {
				return err
			}
		}
	}
	return nil
}

// unlink makes a file a copy of its own.
func unlink(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".own", b, 0o644); err != nil {
		return err
	}
	return os.Rename(file+".own", file)
}

// registry is the prefix of all images, as the compose files have it.
func registry() string {
	if r := os.Getenv("REGISTRY"); r != "" {
		return r
	}
	return "dockstack"
}
