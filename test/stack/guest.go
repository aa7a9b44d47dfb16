package stack

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/dockstack/dockstack/test/vm"
)

//go:embed guest
var guestFiles embed.FS

// guest is what a virtual machine boots: Debian's kernel, an initramfs of busybox and three scripts, and a disk that
// nobody looks at.
type guest struct{ kernel, initramfs, disk string }

// makeGuest writes a guest into dir, with a kernel that is kept below cache.
func makeGuest(ctx context.Context, dir, cache string) (guest, error) {
	g := guest{initramfs: filepath.Join(dir, "initramfs"), disk: filepath.Join(dir, "disk")}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return g, err
	}
	kernel, err := vm.FetchKernel(ctx, cache, "virtio_pci", "virtio_net")
	if err != nil {
		return g, err
	}
	g.kernel = kernel.Image
	if err := os.WriteFile(g.disk, make([]byte, 1<<20), 0o600); err != nil {
		return g, err
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return g, fmt.Errorf("%w: `make deps` installs busybox-static", err)
	}
	img, err := vm.NewImage(g.initramfs)
	if err != nil {
		return g, err
	}
	img.Copy("/bin/busybox", busybox)
	for i, file := range kernel.Modules {
		img.Copy(fmt.Sprintf("/modules/%02d-%s", i, filepath.Base(file)), file)
	}
	for from, to := range map[string]string{"init.sh": "/init", "lease.sh": "/lease.sh", "peer.sh": "/www/cgi-bin/peer"} {
		content, err := guestFiles.ReadFile("guest/" + from)
		if err != nil {
			return g, errors.Join(err, img.Close())
		}
		img.Write(to, 0o755, content)
	}
	return g, img.Close()
}
