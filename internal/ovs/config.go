package ovs

import (
	"cmp"
	"path/filepath"
)

// Which Open vSwitch to use.
const (
	// OriginAuto takes the host's when it runs, else our own.
	OriginAuto = "auto"
	// OriginHost waits for the host's.
	OriginHost = "host"
	// OriginOwn runs our own.
	OriginOwn = "own"
)

// Which datapath to use.
const (
	// DatapathAuto takes the kernel's where there is one.
	DatapathAuto = "auto"
	// DatapathKernel forwards in the kernel.
	DatapathKernel = "kernel"
	// DatapathUserspace forwards in ovs-vswitchd.
	DatapathUserspace = "userspace"
)

// Config says which switch to use and where it lies.
type Config struct {
	// Origin is one of the Origin constants; auto by default.
	Origin string
	// Datapath is one of the Datapath constants; auto by default.
	Datapath string
	// HostSocket is the database's socket of the host's Open vSwitch; by default
	// /run/openvswitch/db.sock.
	HostSocket string
	// RunDir is where our own keeps database and sockets; by default
	// /run/dockstack/ovs. On a tmpfs it outlives the plugin, not the host.
	RunDir string
	// Root is the directory under which Open vSwitch's programs are installed;
	// by default /. Elsewhere they run with the libraries beside them.
	Root string
	// Bridge is our bridge's name; dockstack0 by default.
	Bridge string
}

func (c Config) withDefaults() Config {
	c.Origin = cmp.Or(c.Origin, OriginAuto)
	c.Datapath = cmp.Or(c.Datapath, DatapathAuto)
	c.HostSocket = cmp.Or(c.HostSocket, "/run/openvswitch/db.sock")
	c.RunDir = cmp.Or(c.RunDir, "/run/dockstack/ovs")
	c.Root = cmp.Or(c.Root, "/")
	c.Bridge = cmp.Or(c.Bridge, "dockstack0")
	return c
}

// ownSocket is the database's socket of our own.
func (c Config) ownSocket() string { return filepath.Join(c.RunDir, "db.sock") }

// database is where our own keeps what it knows.
func (c Config) database() string { return filepath.Join(c.RunDir, "conf.db") }

// Probe asks the kernel; internal/link has both answers.
type Probe struct {
	// KernelDatapath is whether the kernel has Open vSwitch's datapath. Asking
	// makes the kernel load the module, if it has one.
	KernelDatapath func() (bool, error)
	// KernelDatapathInUse is whether somebody's switch uses it here.
	KernelDatapathInUse func() (bool, error)
}
