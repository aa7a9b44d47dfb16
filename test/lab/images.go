package lab

import (
	"context"
	"fmt"
	"os"
)

// LoadImages loads images that `docker save` wrote.
func (h *Host) LoadImages(ctx context.Context, tars ...string) error {
	for _, tar := range tars {
		if _, err := h.Docker(ctx, "load", "-q", "-i", tar); err != nil {
			return err
		}
	}
	return nil
}

// ImportImage makes an image of a root file system in a tar file. Changes are Dockerfile lines such as `CMD ["/x"]`.
func (h *Host) ImportImage(ctx context.Context, tar, name string, changes ...string) error {
	if _, err := os.Stat(tar); err != nil {
		return fmt.Errorf("import %s: %w", name, err)
	}
	args := []string{"import"}
	for _, c := range changes {
		args = append(args, "--change", c)
	}
	_, err := h.Docker(ctx, append(args, tar, name)...)
	return err
}
