package vm

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// metaPackage is Debian's name for its current kernel.
const metaPackage = "linux-image-amd64"

// Kernel is a kernel with some of its modules, unpacked.
type Kernel struct {
	// Version is that of its package.
	Version string
	// Image is the bootable file.
	Image string
	// Modules are files in the order in which they load.
	Modules []string
}

// unpacked are the parts of the package that are kept; the rest is 300 MB.
var unpacked = []string{
	"/kernel/net/", "/kernel/lib/", "/kernel/crypto/", "/kernel/arch/x86/crypto/", "/kernel/fs/ext4/", "/kernel/fs/jbd2/", "/kernel/fs/mbcache",
	"/kernel/drivers/virtio/", "/kernel/drivers/block/virtio_blk", "/kernel/drivers/net/", "/modules.builtin",
}

// FetchKernel downloads and unpacks Debian's kernel package below dir, once for
// each version that apt offers. The kernel comes with the modules that are named
// and what these need, or without names with those that the machine here needs.
func FetchKernel(ctx context.Context, dir string, names ...string) (*Kernel, error) {
	pkg, err := getKernel(ctx, dir)
	if errors.Is(err, errDownload) {
		// Old lists name a kernel that the mirror has replaced.
		if uerr := updateLists(ctx); uerr != nil {
			return nil, errors.Join(err, uerr)
		}
		pkg, err = getKernel(ctx, dir)
	}
	if err != nil {
		return nil, err
	}
	wanted := modules
	if len(names) > 0 {
		wanted = nil
		for _, name := range names {
			wanted = append(wanted, module{name: name})
		}
	}
	return openKernel(pkg.version, filepath.Join(dir, pkg.file), wanted)
}

// errDownload says that apt could not get a package that it offers.
var errDownload = errors.New("download")

// getKernel unpacks the kernel that apt offers, unless it is there.
func getKernel(ctx context.Context, dir string) (debian, error) {
	pkg, err := kernelPackage(ctx)
	if err != nil {
		return pkg, err
	}
	root := filepath.Join(dir, pkg.file)
	if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
		if err := unpackKernel(ctx, pkg, dir, root); err != nil {
			return pkg, fmt.Errorf("get kernel %s: %w", pkg.file, err)
		}
	}
	return pkg, nil
}

type debian struct{ name, version, file string }

// kernelPackage asks apt for the package behind the current kernel. The lists
// of a fresh machine may be empty, so they are fetched once.
func kernelPackage(ctx context.Context) (debian, error) {
	for _, fetch := range []bool{false, true} {
		if fetch {
			if err := updateLists(ctx); err != nil {
				return debian{}, err
			}
		}
		name, err := field(ctx, metaPackage, "Depends: ", "linux-image-")
		if err != nil || name == "" {
			continue
		}
		version, err := field(ctx, name, "Version: ", "")
		if err != nil {
			return debian{}, err
		}
		return debian{name: name, version: version, file: strings.NewReplacer(":", "", "/", "").Replace(name + "_" + version)}, nil
	}
	return debian{}, fmt.Errorf("apt offers no %s: this test needs Debian's package lists (bookworm or later, amd64)", metaPackage)
}

// updateLists fetches apt's lists, after whoever else is at it: apt-get itself does not wait for that.
func updateLists(ctx context.Context) error {
	for {
		_, err := output(ctx, "", "env", "LC_ALL=C", "apt-get", "-q", "update")
		if err == nil || !strings.Contains(err.Error(), "Could not get lock") {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// field returns the first value of a package's field that begins with prefix.
func field(ctx context.Context, pkg, key, prefix string) (string, error) {
	out, err := output(ctx, "", "apt-cache", "show", "--no-all-versions", pkg)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		values, ok := strings.CutPrefix(strings.TrimSpace(line), key)
		if !ok {
			continue
		}
		for value := range strings.SplitSeq(values, ", ") {
			if strings.HasPrefix(value, prefix) {
				value, _, _ = strings.Cut(value, " ")
				return value, nil
			}
		}
	}
	return "", nil
}

func unpackKernel(ctx context.Context, pkg debian, dir, root string) error {
	tmp, err := os.MkdirTemp(dir, "unpack-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if _, err := output(ctx, tmp, "apt-get", "-q", "download", pkg.name+"="+pkg.version); err != nil {
		return fmt.Errorf("%w: %w", errDownload, err)
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download left %d packages", len(debs))
	}
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", debs[0])
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	tree := filepath.Join(tmp, "tree")
	err = untar(ctx, bufio.NewReaderSize(pipe, 1<<20), tree)
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	if err != nil {
		return err
	}
	return os.Rename(tree, root) // whole or not at all
}

// untar keeps the kernel's image and the modules that may be needed, flat:
// their names are unique.
func untar(ctx context.Context, r io.Reader, tree string) error {
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return err
	}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := keptAs(h.Name)
		if name == "" || h.Typeflag != tar.TypeReg {
			continue
		}
		name = filepath.Join(tree, name)
		if err := writeTo(name, tr); err != nil {
			return err
		}
		if strings.HasSuffix(name, ".xz") { // Debian 13 compresses modules
			if _, err := output(ctx, "", "xz", "-d", "--quiet", name); err != nil {
				return err
			}
		}
	}
}

// keptAs is the name under which a file of the package is kept, "" for none.
func keptAs(file string) string {
	if strings.Contains(file, "/boot/vmlinuz-") {
		return "vmlinuz"
	}
	for _, u := range unpacked {
		if strings.Contains(file, u) {
			return path.Base(file)
		}
	}
	return ""
}

func writeTo(name string, r io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// output runs a program and returns what it says; the error has the rest.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s (`make deps` installs what the tests need)", strings.Join(append([]string{name}, args...), " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
