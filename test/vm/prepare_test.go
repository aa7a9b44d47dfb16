package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// repo is the project's top folder, seen from here.
const repo = "../.."

// bench is what every machine here starts from.
type bench struct {
	kernel *Kernel
	// base is an initramfs with the first process, the modules and busybox.
	base  string
	accel Accel
	dir   string
}

var workbench = sync.OnceValues(func() (*bench, error) {
	ctx, stop := context.WithTimeout(context.Background(), 15*time.Minute)
	defer stop()
	dir, err := filepath.Abs(filepath.Join(repo, "build", "vm"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := alone(dir); err != nil {
		return nil, err
	}
	b := &bench{dir: dir, base: filepath.Join(dir, "base.cpio")}
	if b.kernel, err = FetchKernel(ctx, dir); err != nil {
		return nil, err
	}
	if err := b.makeBase(ctx); err != nil {
		return nil, fmt.Errorf("make the initramfs: %w", err)
	}
	probe := filepath.Join(dir, "probe.cpio")
	if err := writeJob(probe, Job{}); err != nil {
		return nil, err
	}
	b.accel = ChooseAccel(ctx, b.boot(probe))
	return b, nil
})

// alone waits until no other run uses the folder. The lock ends with the process.
func alone(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	fd, err := syscall.Dup(int(f.Fd())) // one that nobody closes
	if err != nil {
		return err
	}
	syscall.CloseOnExec(fd)
	return errors.Join(f.Close(), syscall.Flock(fd, syscall.LOCK_EX))
}

func prepared(t *testing.T) *bench {
	t.Helper()
	b, err := workbench()
	if err != nil {
		t.Fatal(err)
	}
	why := ""
	if b.accel.Why != "" {
		why = " (" + b.accel.Why + ")"
	}
	t.Logf("kernel %s with %s%s", b.kernel.Version, b.accel.Name, why)
	return b
}

// boot is a machine with the base and more over it.
func (b *bench) boot(more ...string) Boot {
	return Boot{Accel: b.accel, Kernel: b.kernel.Image, Initrds: append([]string{b.base}, more...), Memory: 1024, CPUs: 2}
}

func (b *bench) makeBase(ctx context.Context) error {
	init := filepath.Join(b.dir, "init")
	if err := goBuild(ctx, init, "build", "./cmd/init"); err != nil {
		return err
	}
	img, err := NewImage(b.base)
	if err != nil {
		return err
	}
	img.Copy("/init", init)
	for _, m := range b.kernel.Modules {
		img.Copy("/m/"+filepath.Base(m), m)
	}
	if busybox, err := exec.LookPath("busybox"); err == nil {
		img.Program("", "/", busybox)
		for _, applet := range []string{"sh", "cat", "sleep", "ls", "kill", "ps", "dmesg", "mkdir", "rm", "grep", "sed", "true", "false", "env", "hostname"} {
			img.Link("/bin/"+applet, busybox)
		}
	}
	for _, dir := range []string{"/root", "/var/log", "/var/lib", "/sbin"} {
		img.Mkdir(dir)
	}
	img.Link("/var/run", "/run")
	img.Write("/etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	img.Write("/etc/group", 0o644, []byte("root:x:0:\n"))
	img.Write("/etc/hosts", 0o644, []byte("127.0.0.1 localhost\n::1 localhost\n"))
	img.Write("/etc/resolv.conf", 0o644, nil)
	return img.Close()
}

// guestModules are the modules' places in the guest.
func (b *bench) guestModules() []string {
	out := make([]string, 0, len(b.kernel.Modules))
	for _, m := range b.kernel.Modules {
		out = append(out, "/m/"+filepath.Base(m))
	}
	return out
}

func (b *bench) job(t *testing.T, job Job) string {
	t.Helper()
	job.Modules = b.guestModules()
	file := filepath.Join(t.TempDir(), "job.cpio")
	must(t, writeJob(file, job))
	return file
}

func writeJob(file string, job Job) error {
	content, err := json.Marshal(job)
	if err != nil {
		return err
	}
	img, err := NewImage(file)
	if err != nil {
		return err
	}
	img.Write(JobFile, 0o644, content)
	return img.Close()
}

// goBuild makes a static program. The race detector needs cgo, which would
// need the guest to have the C library, so it is not on in there.
func goBuild(ctx context.Context, out, verb, pkg string, flags ...string) error {
	args := append([]string{verb}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", out, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s %s: %w\n%s", verb, pkg, err, text)
	}
	return nil
}

// watch prints what the guest says and returns the verdict of its end.
func watch(t *testing.T, m *Machine) {
	t.Helper()
	verdict := ""
	for line := range m.Lines {
		_, _ = fmt.Fprintln(t.Output(), line)
		if v, ok := strings.CutPrefix(line, MarkDone); ok {
			verdict = v
		}
	}
	if err := m.Wait(); err != nil {
		t.Errorf("the machine: %v", err)
	}
	switch verdict {
	case "pass":
	case "":
		t.Error("the guest ended without a word on how it went")
	default:
		t.Errorf("the guest says: %s", verdict)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
