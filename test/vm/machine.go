package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const qemu = "qemu-system-x86_64"

// Accel is how the guest's instructions are run.
type Accel struct {
	Name string
	// Why says why this and not the faster one.
	Why  string
	args []string
}

// KVM runs them on the processor.
var KVM = Accel{Name: "kvm", args: []string{"-accel", "kvm", "-cpu", "host"}}

// TCG translates them, anywhere and some ten times slower.
var TCG = Accel{Name: "tcg", args: []string{"-accel", "tcg,thread=multi", "-cpu", "max"}}

// Boot says what to start.
type Boot struct {
	Accel  Accel
	Kernel string
	// Initrds are unpacked one over the other.
	Initrds []string
	// Memory in MiB.
	Memory, CPUs int
	// Disk is the unix socket of a served disk, "" for none.
	Disk string
	// OwnTime makes an emulated machine count time by its instructions, a
	// nanosecond each, and skip idle time: what is quick enough in it does not
	// depend on how busy the host is. It then has one processor, and no disk:
	// idle time would run away while it waits for one.
	OwnTime bool
	// Reboots lets the guest boot again when it asks to; otherwise that ends
	// the machine.
	Reboots bool
}

// Machine is a running qemu. It dies with this process.
type Machine struct {
	// Lines is what the guest says, line by line, until it ends. It must be
	// read.
	Lines <-chan string
	proc  *os.Process
	done  chan struct{}
	err   error
	says  *bytes.Buffer
}

// Start starts a machine. It is killed when ctx ends.
func Start(ctx context.Context, b Boot) (*Machine, error) {
	initrd, err := join(b.Initrds)
	if err != nil {
		return nil, err
	}
	args := append([]string{
		"-m", strconv.Itoa(b.Memory), "-nodefaults", "-display", "none", "-serial", "stdio", "-nic", "none",
		"-kernel", b.Kernel, "-initrd", "/proc/self/fd/3",
		// A panic ends or restarts the machine at once instead of hanging it.
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on rdinit=/init",
	}, b.processor()...)
	if !b.Reboots {
		args = append(args, "-no-reboot")
	}
	if b.Disk != "" {
		args = append(args, "-blockdev", "driver=nbd,node-name=disk,server.type=unix,server.path="+b.Disk,
			"-device", "virtio-blk-pci,drive=disk,write-cache=on")
	}
	m := &Machine{done: make(chan struct{}), says: &bytes.Buffer{}}
	lines := make(chan string, 1024)
	m.Lines = lines
	cmd := exec.CommandContext(ctx, qemu, args...)
	cmd.ExtraFiles = []*os.File{initrd}
	started := make(chan error)
	go m.run(ctx, cmd, lines, started)
	err = <-started
	if cerr := initrd.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("start %s (`make deps` installs it): %w", qemu, err)
	}
	return m, nil
}

// processor returns qemu's arguments for that.
func (b Boot) processor() []string {
	if b.OwnTime && b.Accel.Name == TCG.Name {
		return []string{"-accel", "tcg,thread=single", "-cpu", "max", "-smp", "1", "-icount", "shift=0,sleep=off,align=off"}
	}
	return append([]string{"-smp", strconv.Itoa(b.CPUs)}, b.Accel.args...)
}

// run keeps its thread, because the guest's life ends with that thread's: this
// is how the kernel understands Pdeathsig.
func (m *Machine) run(ctx context.Context, cmd *exec.Cmd, lines chan<- string, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(m.done)
	defer close(lines)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = m.says
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		m.err = err
		started <- err
		return
	}
	m.proc = cmd.Process
	started <- nil
	for r := bufio.NewReader(out); ; {
		line, err := r.ReadString('\n')
		if err != nil { // what isn't ended by a newline was not said
			break
		}
		select {
		case lines <- strings.TrimRight(line, "\r\n"):
		case <-ctx.Done(): // nobody may be listening any more
		}
	}
	m.err = cmd.Wait()
}

// Kill ends the machine as a power cut does, and returns when it is gone, with
// what it had said that nobody had read.
func (m *Machine) Kill() (said []string) {
	_ = m.proc.Kill()
	for line := range m.Lines {
		said = append(said, line)
	}
	<-m.done
	return said
}

// Wait returns when the machine has ended, with what qemu itself complained of.
func (m *Machine) Wait() error {
	for range m.Lines {
		continue
	}
	<-m.done
	if m.err != nil {
		return fmt.Errorf("%s: %w: %s", qemu, m.err, bytes.TrimSpace(m.says.Bytes()))
	}
	return nil
}

// join puts archives one behind the other, in a file without a name: it can't
// be left behind. Each archive has a length divisible by four.
func join(files []string) (*os.File, error) {
	out, err := os.CreateTemp("", "dockstack-vm-")
	if err != nil {
		return nil, err
	}
	err = os.Remove(out.Name())
	for _, name := range files {
		f, oerr := os.Open(name)
		if oerr != nil {
			err = errors.Join(err, oerr)
			continue
		}
		_, cerr := io.Copy(out, f)
		err = errors.Join(err, cerr, f.Close())
	}
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}

// ChooseAccel returns KVM where a guest really comes up with it: the device
// alone says little inside another virtual machine.
func ChooseAccel(ctx context.Context, b Boot) Accel {
	accel := TCG
	if name := os.Getenv("DOCKSTACK_VM_ACCEL"); name != "" {
		accel.Why = "DOCKSTACK_VM_ACCEL says so"
		if name == KVM.Name {
			accel = KVM
		}
		return accel
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		accel.Why = err.Error()
		return accel
	}
	_ = f.Close()
	ctx, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	b.Accel = KVM
	m, err := Start(ctx, b)
	if err != nil {
		accel.Why = err.Error()
		return accel
	}
	up := false
	for line := range m.Lines {
		up = up || strings.Contains(line, markDone+"pass")
	}
	if err := m.Wait(); !up {
		why, _, _ := strings.Cut(fmt.Sprint(err), "\n")
		accel.Why = "no guest comes up with kvm: " + why
		return accel
	}
	return KVM
}
