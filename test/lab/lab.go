// Package lab owns hosts: each a set of namespaces on this machine with a Docker Engine 29 of its own, joined by one underlay network.
//
// Beside the hosts, on the same underlay, a lab may have a real etcd of one or more members.
//
// A host is a process tree under an init of its own: private PID, mount, network, UTS, IPC and cgroup namespaces,
// its own /etc (an overlay), /run (a tmpfs) and /var/lib (a directory). Nothing is mounted, linked or named
// outside of them, so killing the init leaves nothing but empty cgroups and files, which Stop and Sweep remove.
// The machine's network and Docker are never touched.
//
// Importing this package lets the program be re-executed as a host's init (see inside.go).
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Network says which network a lab's hosts live in.
type Network string

const (
	// Underlay gives every host a network namespace, joined by a bridge: h1 has 192.0.2.1, h2 192.0.2.2 and so on.
	Underlay Network = "underlay"
	// Machine leaves the host in the machine's own network, so that image builds reach what the machine reaches.
	// Its engine then gets no bridge and no packet filter, so that it changes nothing there.
	Machine Network = "machine"
)

// Options is what a lab is made of. The zero value is one host with a random name that forgets everything at Stop.
type Options struct {
	ID      string  // names the lab's processes, cgroups and directories; random if empty
	Hosts   int     // how many hosts; 1 if zero
	Dir     string  // where the hosts' data is kept, on a real disk; build/lab-ID if empty
	Keep    bool    // Stop leaves Dir, and a later lab with the same Dir finds its images again
	Network Network // Underlay if empty
	Etcd    int     // how many members the hosts' etcd has: 0 (no etcd), or 1, 3 or 5
	EtcdTLS bool    // etcd takes only clients with a certificate of the lab's own authority

	// EtcdUnsynced: etcd leaves it to the kernel when to write. Nothing is lost with a process, and a disk that is busy
	// with something else for seconds does not keep members from agreeing.
	EtcdUnsynced bool
}

// Lab is a set of running hosts.
type Lab struct {
	ID       string
	Dir      string
	Hosts    []*Host   // h1 first
	Etcd     []*Member // e1 first
	opts     Options
	lock     *os.File // held while any process of the lab lives
	underlay *holder
}

// Start makes a lab and waits until every engine answers. What an earlier lab of the same name left is removed first.
func Start(ctx context.Context, opts Options) (_ *Lab, err error) {
	if opts, err = opts.complete(); err != nil {
		return nil, err
	}
	if err := Sweep(ctx); err != nil {
		return nil, fmt.Errorf("remove what dead labs left: %w", err)
	}
	l := &Lab{ID: opts.ID, Dir: opts.Dir, opts: opts}
	if l.lock, err = lockLab(ctx, opts.ID); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if err := l.save(); err != nil {
		return nil, err
	}
	if opts.Network == Underlay {
		if err := l.startUnderlay(ctx); err != nil {
			return nil, fmt.Errorf("start underlay: %w", err)
		}
	}
	if err := l.startEtcd(ctx); err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	for i := 1; i <= opts.Hosts; i++ {
		l.Hosts = append(l.Hosts, newHost(l, i))
	}
	if err := eachHost(l.Hosts, func(h *Host) error { return h.boot(ctx) }); err != nil {
		return nil, err
	}
	if len(l.Etcd) > 0 {
		if err := l.EtcdReady(ctx); err != nil {
			return nil, err
		}
	}
	return l, l.save()
}

func (o Options) complete() (Options, error) {
	if o.Hosts == 0 {
		o.Hosts = 1
	}
	if o.Hosts < 1 || o.Hosts > 200 {
		return o, fmt.Errorf("a lab of %d hosts: give 1 to 200", o.Hosts)
	}
	if o.Network == "" {
		o.Network = Underlay
	}
	if o.Etcd != 0 && o.Etcd != 1 && o.Etcd != 3 && o.Etcd != 5 {
		return o, fmt.Errorf("an etcd of %d members: give 1, 3 or 5, or 0 for none", o.Etcd)
	}
	if o.Etcd != 0 && o.Network != Underlay {
		return o, errors.New("etcd members need an underlay to be on")
	}
	if o.ID == "" {
		o.ID = fmt.Sprintf("%x", time.Now().UnixNano()&0xffffffff)
	}
	if o.Dir == "" {
		root, err := Root()
		if err != nil {
			return o, err
		}
		o.Dir = filepath.Join(root, "build", "lab-"+o.ID)
	}
	dir, err := filepath.Abs(o.Dir)
	o.Dir = dir
	return o, err
}

// Host returns host number n, counted from 1.
func (l *Lab) Host(n int) *Host { return l.Hosts[n-1] }

// Detach lets the lab go on without this process, until Down. The Lab is not to be used any more.
func (l *Lab) Detach() error {
	if err := l.save(); err != nil {
		return err
	}
	for _, h := range l.holders() {
		if err := h.detach(); err != nil {
			return err
		}
	}
	err := l.lock.Close()
	l.lock = nil
	return err
}

// Stop kills everything in the lab and removes what it left. It may be called twice.
func (l *Lab) Stop(ctx context.Context) error {
	var errs []error
	for _, h := range l.holders() {
		errs = append(errs, h.kill(ctx))
	}
	if l.lock != nil {
		if errors.Join(errs...) == nil { // all are dead, and nobody else's sweep or lab comes between
			errs = append(errs, sweepLocked(ctx, l.lock, l.ID))
		}
		errs = append(errs, l.lock.Close())
		l.lock = nil
		errs = append(errs, Sweep(ctx))
	}
	return errors.Join(errs...)
}

func (l *Lab) holders() []*holder {
	var all []*holder
	for _, h := range l.Hosts {
		if h.init != nil {
			all = append(all, h.init)
		}
	}
	for _, m := range l.Etcd {
		if m.init != nil {
			all = append(all, m.init)
		}
	}
	if l.underlay != nil {
		all = append(all, l.underlay)
	}
	return all
}

// record is what a lab writes about itself, for Attach and Sweep.
type record struct {
	Dir      string  `json:"dir"`
	Keep     bool    `json:"keep"`
	Network  Network `json:"network"`
	Hosts    []int   `json:"hosts"` // pid of each host's init
	Underlay int     `json:"underlay"`
	Etcd     []int   `json:"etcd,omitempty"` // pid of each member's init
	EtcdTLS  bool    `json:"etcd_tls,omitempty"`
}

func (l *Lab) save() error {
	r := record{Dir: l.Dir, Keep: l.opts.Keep, Network: l.opts.Network, EtcdTLS: l.opts.EtcdTLS}
	for _, h := range l.Hosts {
		r.Hosts = append(r.Hosts, h.init.pidOrZero())
	}
	for _, m := range l.Etcd {
		r.Etcd = append(r.Etcd, m.init.pidOrZero())
	}
	r.Underlay = l.underlay.pidOrZero()
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := recordPath(l.ID)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Attach returns a lab that another process started and detached, such as the one of `make lab` (the name is Main).
func Attach(id string) (*Lab, error) {
	r, err := readRecord(id)
	if err != nil {
		return nil, fmt.Errorf("no lab %q is up (%w): start it with `make lab`", id, err)
	}
	l := &Lab{ID: id, Dir: r.Dir, opts: Options{
		ID: id, Hosts: len(r.Hosts), Dir: r.Dir, Keep: r.Keep, Network: r.Network, Etcd: len(r.Etcd), EtcdTLS: r.EtcdTLS,
	}}
	for i, pid := range r.Hosts {
		h := newHost(l, i+1)
		if h.init, err = adopt(pid, h.cgroupName()); err != nil {
			h.init = poweredOff()
		}
		l.Hosts = append(l.Hosts, h)
	}
	for i, pid := range r.Etcd {
		m := newMember(l, i+1)
		if m.init, err = adopt(pid, memberTitle(id, i+1)); err != nil {
			return nil, err
		}
		l.Etcd = append(l.Etcd, m)
	}
	if r.Underlay != 0 {
		if l.underlay, err = adopt(r.Underlay, underlayName(id)); err != nil {
			return nil, err
		}
	}
	return l, l.shareLock()
}

// shareLock takes a copy of the lock that a living init holds, so that an init that we start holds it as well.
func (l *Lab) shareLock() error {
	holder := l.underlay // there whichever hosts are off
	if holder == nil {
		holder = l.Hosts[0].init
	}
	fd, err := unix.PidfdGetfd(holder.pidfd, fdLock, 0)
	if err != nil {
		return fmt.Errorf("share the lab's lock: %w", err)
	}
	l.lock = os.NewFile(uintptr(fd), lockPath(l.ID))
	return nil
}

func eachHost(hosts []*Host, do func(*Host) error) error {
	return each(hosts, func(h *Host) error {
		if err := do(h); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		return nil
	})
}
