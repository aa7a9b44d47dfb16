package vm

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// suite is a package whose tests run in the guest, where the kernel has Open
// vSwitch: a binary that is compiled here, and run once for each of the flags.
type suite struct {
	pkg   string
	steps map[string][]string
}

var suites = []suite{
	{"internal/link", map[string][]string{
		// Those that are left out have nftables' and iptables' own programs change
		// a namespace, or wait for what doesn't come; none is about the datapath.
		"link": {"-test.skip=^(TestDrops|TestGuardsThatAreMissing|TestPath.*)$"},
	}},
	{pkg: "internal/ovs"},
	{pkg: "internal/fabric"},
	{"test/datapath", map[string][]string{
		"datapath": {"-test.skip=^TestTunnel$"},
		// Several hosts, once for each tunnel and underlay.
		"tunnel-flow-v4":   {"-test.run=^TestTunnel$/^flow_tunnel_over_IPv4$"},
		"tunnel-flow-v6":   {"-test.run=^TestTunnel$/^flow_tunnel_over_IPv6$"},
		"tunnel-kernel-v4": {"-test.run=^TestTunnel$/^kernel_tunnel_over_IPv4$"},
		"tunnel-both-v6":   {"-test.run=^TestTunnel$/^both_tunnels_over_IPv6$"},
		// Figures of instructions rather than of time (Boot.OwnTime), so they vary
		// little.
		"bench-tcp": {"-test.run=^$", "-test.bench=^BenchmarkTCPAcrossHosts$", "-test.benchtime=5x", "-test.count=3"},
	}},
}

// stepsEnv is a regular expression of the steps to run: all by default.
const stepsEnv = "DOCKSTACK_VM_STEPS"

// tools are what the suites call, with Debian's packages that have them.
var tools = map[string]string{
	"ip": "iproute2", "ethtool": "ethtool", "ping": "iputils-ping", "arping": "iputils-arping", "iperf3": "iperf3", "keepalived": "keepalived",
	"busybox": "busybox-static",
}

const (
	// suiteSeconds bounds one suite by the guest's clock; the longest takes 80.
	// Go's own limit is below that, because it tells which test hangs.
	suiteSeconds = 240
	suiteLimit   = "-test.timeout=220s"
	// machineLimit bounds all of it by ours: 3 minutes on two idle cores.
	machineLimit = 25 * time.Minute
)

// TestKernelDatapath runs the tests of links, switch and fabric against the
// kernel datapath of Debian's kernel.
func TestKernelDatapath(t *testing.T) {
	b := prepared(t)
	job := Job{Env: []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=/tmp",
		"DOCKSTACK_TEST_DATAPATH=kernel", "DOCKSTACK_OVS_ROOT=" + ovsAt,
	}}
	file := filepath.Join(b.dir, "suites.cpio")
	img, err := NewImage(file)
	must(t, err)
	addTools(t, img)
	addOVS(t, img)
	wanted := regexp.MustCompile(os.Getenv(stepsEnv))
	for _, suite := range suites {
		job.Steps = append(job.Steps, suite.job(t, img, wanted)...)
	}
	// Whatever the suites say of themselves, the kernel knows whether they used
	// its datapath.
	job.Steps = append(job.Steps, Step{
		Name: "kernel-datapath-was-used", Dir: "/", Seconds: 20,
		Argv: []string{"sh", "-c", "dmesg | grep 'ovs-system.* entered promiscuous mode'"},
	})
	must(t, img.Close())
	boot := b.boot(file, b.job(t, job))
	boot.Memory, boot.OwnTime = 2048, true
	ctx, stop := context.WithTimeout(t.Context(), machineLimit)
	defer stop()
	m, err := Start(ctx, boot)
	must(t, err)
	watch(t, m)
}

// job adds the suite to the image, if any of its steps is wanted, and returns them.
func (s suite) job(t *testing.T, img *Image, wanted *regexp.Regexp) []Step {
	t.Helper()
	steps := s.steps
	program := path.Base(s.pkg)
	if steps == nil {
		steps = map[string][]string{program: nil}
	}
	var out []Step
	for _, name := range slices.Sorted(maps.Keys(steps)) {
		if wanted.MatchString(name) {
			out = append(out, Step{
				Name: name, Dir: "/src/" + s.pkg, Seconds: suiteSeconds,
				Argv: append([]string{"/suites/" + program + ".test", "-test.v", suiteLimit}, steps[name]...),
			})
		}
	}
	if len(out) > 0 {
		addSuite(t, img, s.pkg)
	}
	return out
}

// addSuite compiles a package's tests and adds them with their test data.
func addSuite(t *testing.T, img *Image, suite string) {
	t.Helper()
	source := filepath.Join(repo, suite)
	if found, _ := filepath.Glob(filepath.Join(source, "*_test.go")); len(found) == 0 {
		t.Fatalf("%s has no tests to run on the kernel datapath", suite)
	}
	program := filepath.Join(t.TempDir(), "suite")
	must(t, goBuild(t.Context(), program, "test", "./"+source, "-c", "-vet=off"))
	img.Copy("/suites/"+filepath.Base(suite)+".test", program)
	img.Mkdir("/src/" + suite)
	if data := filepath.Join(source, "testdata"); exists(data) {
		img.CopyTree("/src/"+suite+"/testdata", data)
	}
}

func addTools(t *testing.T, img *Image) {
	t.Helper()
	for name, pkg := range tools {
		at, err := exec.LookPath(name)
		if err != nil {
			t.Fatalf("no %s here: `make deps` installs Debian's %s", name, pkg)
		}
		if at, err = filepath.EvalSymlinks(at); err != nil {
			t.Fatal(err)
		}
		img.Program("", "/", at)
		if want := "/usr/bin/" + name; at != want {
			img.Link(want, at)
		}
	}
}

// ovsAt is where Open vSwitch is in the guest. It brings its own C library, so
// it can't share a place with the tools.
const ovsAt = "/ovs"

// addOVS adds the plugin's Open vSwitch: what users run is what is tested.
func addOVS(t *testing.T, img *Image) {
	t.Helper()
	root := os.Getenv("DOCKSTACK_OVS_ROOT")
	if root == "" {
		root = filepath.Join(repo, "build", "plugin", "rootfs")
	}
	for _, name := range []string{"ovsdb-server", "ovsdb-tool", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovs-appctl", "ovs-dpctl"} {
		file := ""
		for _, dir := range []string{"usr/bin", "usr/sbin", "usr/lib/openvswitch-switch"} {
			if info, err := os.Lstat(filepath.Join(root, dir, name)); err == nil && info.Mode().IsRegular() {
				file = filepath.Join(dir, name)
			}
		}
		if file == "" {
			t.Fatalf("no %s below %s: `make plugin` brings Open vSwitch, or DOCKSTACK_OVS_ROOT says where another is", name, root)
		}
		img.Program(ovsAt, root, file)
	}
	schemas, _ := filepath.Glob(filepath.Join(root, "usr/share/openvswitch/*.ovsschema"))
	for _, s := range schemas {
		img.Copy(ovsAt+strings.TrimPrefix(s, root), s)
	}
}
