package lab

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// StandInImage is the image that StandIn makes: a few MB, ends at once on SIGTERM, see test/images/standin.
const StandInImage = "standin:latest"

// StandIn gives the engine the stand-in image, under its own name and under all the given ones.
func (h *Host) StandIn(ctx context.Context, names ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	program := filepath.Join(root, "build", "standin")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "./test/images/standin")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := output(build, "build the stand-in"); err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(tarOf(w, program, "standin")) }()
	cmd := h.DockerCommand(ctx, "import", "--change", `ENTRYPOINT ["/standin"]`, "-", StandInImage)
	cmd.Stdin = r
	_, err = output(cmd, h.Name+": import the stand-in")
	_ = r.Close()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := h.Docker(ctx, "tag", StandInImage, name); err != nil {
			return err
		}
	}
	return nil
}

// tarOf writes a root file system that holds one program.
func tarOf(w io.Writer, program, name string) error {
	b, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	if err := t.WriteHeader(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}); err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(b))}); err != nil {
		return err
	}
	if _, err := t.Write(b); err != nil {
		return err
	}
	return t.Close()
}

// LoadImages loads images that `docker save` wrote.
func (h *Host) LoadImages(ctx context.Context, tars ...string) error {
	for _, path := range tars {
		if _, err := h.Docker(ctx, "load", "-q", "-i", path); err != nil {
			return err
		}
	}
	return nil
}

// ImportImage makes an image of a root file system in a tar file. Changes are Dockerfile lines such as `CMD ["/x"]`.
func (h *Host) ImportImage(ctx context.Context, path, name string, changes ...string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("import %s: %w", name, err)
	}
	args := []string{"import"}
	for _, c := range changes {
		args = append(args, "--change", c)
	}
	_, err := h.Docker(ctx, append(args, path, name)...)
	return err
}
