package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Host is one machine of a lab. Its methods may be called from several goroutines, except for those that stop or
// start the engine or the host.
type Host struct {
	Name   string // "h1"; also its host name
	Addr   string // its address on the underlay; empty in the machine's network
	Dir    string // its disk: etc (what differs from the machine's /etc), varlib (its /var/lib), dockerd.log
	Socket string // its engine's socket, as seen from this process

	lab    *Lab
	number int
	init   *holder
}

func newHost(l *Lab, n int) *Host {
	h := &Host{Name: "h" + strconv.Itoa(n), lab: l, number: n}
	h.Dir = filepath.Join(l.Dir, h.Name)
	h.Socket = filepath.Join(runDir(l.ID), h.Name, "docker.sock")
	if l.opts.Network == Underlay {
		h.Addr = underlayAddr(n)
	}
	return h
}

// Lab is the lab that the host is of.
func (h *Host) Lab() *Lab { return h.lab }

func hostCgroup(id string, n int) string { return prefix + id + "-h" + strconv.Itoa(n) }

func (h *Host) cgroupName() string { return hostCgroup(h.lab.ID, h.number) }

// boot starts the host's init, its link and its engine.
func (h *Host) boot(ctx context.Context) error {
	run := filepath.Dir(h.Socket)
	if err := os.RemoveAll(run); err != nil {
		return err
	}
	for _, dir := range []string{run, h.Dir, filepath.Join(h.Dir, "varlib"), h.dockerConfig()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	flags := uintptr(syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC)
	if h.lab.opts.Network == Underlay {
		flags |= syscall.CLONE_NEWNET
	}
	s := spec{Name: h.Name, Dir: h.Dir, RunDir: run, Network: h.lab.opts.Network}
	place := func(pid int) error { return makeCgroups(h.cgroupName(), pid) }
	var err error
	if h.init, err = spawn(ctx, h.lab.lock, flags, h.cgroupName(), s, place); err != nil {
		return err
	}
	if h.lab.opts.Network == Underlay {
		h.Addr = underlayAddr(h.number)
		if err := h.lab.plug(h.init.pid, h.Name, h.number); err != nil {
			return fmt.Errorf("join the underlay: %w", err)
		}
	}
	return h.EngineStart(ctx)
}

// Reboot is a power cut for processes: all die at once, /run is emptied and every link is gone. Then the host starts
// again with the same disk. What the kernel had not written yet is not lost; that takes a virtual machine.
func (h *Host) Reboot(ctx context.Context) error {
	if err := h.PowerOff(ctx); err != nil {
		return err
	}
	return h.PowerOn(ctx)
}

// PowerOff kills the host's every process at once. Its disk stays.
func (h *Host) PowerOff(ctx context.Context) error {
	if err := h.init.kill(ctx); err != nil {
		return err
	}
	return removeCgroups(ctx, h.cgroupName())
}

// PowerOn boots a host that is off.
func (h *Host) PowerOn(ctx context.Context) error {
	detached := h.init.lifeline == nil
	if err := h.boot(ctx); err != nil {
		return err
	}
	if detached {
		if err := h.init.detach(); err != nil {
			return err
		}
	}
	return h.lab.save()
}

// Command prepares a command inside the host, in all of its namespaces and its cgroup. It dies with this process.
func (h *Host) Command(ctx context.Context, args ...string) *exec.Cmd {
	// The shell joins the cgroups (0 means itself) and becomes nsenter. nsenter waits outside of the host, so the
	// command inside asks the kernel to be killed when nsenter is.
	const script = `for f in $PROCS; do echo 0 > "$f" || exit 125; done; unset PROCS
exec nsenter -a -t "$INIT" -- env -u INIT setpriv --pdeathsig KILL -- "$@"`
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", script, "sh"}, args...)...)
	files, err := procsFiles(h.cgroupName())
	bin, err2 := EngineBin()
	if err != nil || err2 != nil {
		cmd.Err = fmt.Errorf("enter %s: %w", h.Name, firstError(err, err2))
		return cmd
	}
	cmd.Env = []string{
		"PROCS=" + strings.Join(files, " "),
		"INIT=" + strconv.Itoa(h.init.pid),
		"PATH=" + bin + ":/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb",
	}
	return cmd
}

// Exec runs a command inside the host and returns what it wrote to standard output.
func (h *Host) Exec(ctx context.Context, args ...string) (string, error) {
	return output(h.Command(ctx, args...), h.Name+": "+strings.Join(args, " "))
}

// DockerCommand prepares a docker command against the host's engine. It runs outside of the host, so paths are the machine's.
func (h *Host) DockerCommand(ctx context.Context, args ...string) *exec.Cmd {
	return h.client(ctx, "docker", args)
}

// Docker runs a docker command against the host's engine and returns what it wrote to standard output.
func (h *Host) Docker(ctx context.Context, args ...string) (string, error) {
	return output(h.DockerCommand(ctx, args...), h.Name+": docker "+strings.Join(args, " "))
}

// ComposeCommand prepares a docker-compose command against the host's engine.
func (h *Host) ComposeCommand(ctx context.Context, args ...string) *exec.Cmd {
	return h.client(ctx, "docker-compose", args)
}

// Compose runs docker-compose against the host's engine and returns what it wrote to standard output.
func (h *Host) Compose(ctx context.Context, args ...string) (string, error) {
	return output(h.ComposeCommand(ctx, args...), h.Name+": docker-compose "+strings.Join(args, " "))
}

func (h *Host) client(ctx context.Context, program string, args []string) *exec.Cmd {
	bin, err := EngineBin()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, program), args...)
	if err != nil {
		cmd.Err = err
	}
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+h.Socket, "DOCKER_CONFIG="+h.dockerConfig(),
		"DOCKER_CONTEXT=", "DOCKER_BUILDKIT=0", "COMPOSE_MENU=false", "COMPOSE_ANSI=never")
	return cmd
}

// dockerConfig is a configuration of the command's own, so that a user's ~/.docker changes nothing here.
func (h *Host) dockerConfig() string { return filepath.Join(h.lab.Dir, h.Name, "docker-config") }

func output(cmd *exec.Cmd, what string) (string, error) {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", what, err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
