package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// resolver is the host's first name server: an address of the underlay where nothing listens, so a forwarded
// question fails at once instead of leaving the lab. Host.SetResolvers gives a real one.
const resolver = "192.0.2.254"

// mountAll gives the host its own /etc, /run, /var/lib, /proc, /sys and cgroups, and then shares mounts inside, as
// systemd does on a real host: plugins and containers see mounts that come later.
func mountAll(s spec) error {
	cgroups, err := cgroupMounts()
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare cgroup namespace: %w", err)
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"make mounts private", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"mount /etc", func() error { return mountEtc(s) }},
		{"mount /run", func() error { return mountRun(s) }},
		{"mount /var/lib", func() error { return bind(filepath.Join(s.Dir, "varlib"), "/var/lib") }},
		{"mount /proc", func() error {
			return unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		}},
		{"mount /sys", func() error { return mountSys(s) }},
		{"mount cgroups", func() error { return mountCgroups(cgroups) }},
		{"share mounts", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "") }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

func bind(from, to string) error { return unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, "") }

// mountEtc lays a private directory over the machine's /etc. What is written there survives a reboot of the host.
func mountEtc(s spec) error {
	upper, work := filepath.Join(s.Dir, "etc"), filepath.Join(s.Dir, "etc.work")
	files := map[string]string{
		"hostname":           s.Name + "\n",
		"hosts":              "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 " + s.Name + "\n",
		"docker/daemon.json": "{}\n",
	}
	if s.Network == Underlay {
		files["resolv.conf"] = "nameserver " + resolver + "\n"
	}
	for name, text := range files {
		path := filepath.Join(upper, name)
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	if err := os.MkdirAll(work, 0o700); err != nil {
		return err
	}
	opts := fmt.Sprintf("lowerdir=/etc,upperdir=%s,workdir=%s", upper, work)
	if err := unix.Mount("overlay", "/etc", "overlay", 0, opts); err != nil {
		return fmt.Errorf("overlay in %s (it must be on a disk file system, not on another overlay): %w", s.Dir, err)
	}
	return nil
}

// mountRun empties /run, as after a boot, except for the directory where the engine's socket is seen from outside.
func mountRun(s spec) error {
	aside := filepath.Join(s.Dir, "run")
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	if err := bind(s.RunDir, aside); err != nil {
		return err
	}
	if err := unix.Mount("dslab", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	if err := os.MkdirAll(s.RunDir, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll("/run/lock", 0o1777); err != nil {
		return err
	}
	return unix.Mount(aside, s.RunDir, "", unix.MS_MOVE, "")
}

// mountSys shows the host's own network in /sys, and makes room for its own view of the cgroups.
func mountSys(s spec) error {
	if s.Network == Machine { // the same network, so the same /sys: the kernel refuses to mount it on itself
		return unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH)
	}
	return unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// cgroupMount is one mounted hierarchy.
type cgroupMount struct {
	path, fstype, options string
}

// cgroupMounts reads the hierarchies from mountinfo: version 1, version 2, or both beside each other.
func cgroupMounts() ([]cgroupMount, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var all []cgroupMount
	for line := range strings.Lines(string(b)) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		where, super := strings.Fields(left), strings.Fields(right)
		if !ok || len(where) < 5 || len(super) < 3 || !strings.HasPrefix(super[0], "cgroup") {
			continue
		}
		var opts []string
		for opt := range strings.SplitSeq(super[2], ",") {
			// What is left names the hierarchy: "memory", "cpu,cpuacct", "name=systemd".
			if opt != "rw" && opt != "ro" && super[0] == "cgroup" && !strings.HasPrefix(opt, "release_agent") {
				opts = append(opts, opt)
			}
		}
		all = append(all, cgroupMount{path: where[4], fstype: super[0], options: strings.Join(opts, ",")})
	}
	if len(all) == 0 {
		return nil, errors.New("no cgroups are mounted on this machine: mount cgroup2 on /sys/fs/cgroup")
	}
	return all, nil
}

// mountCgroups mounts each hierarchy again. In the new cgroup namespace the host's own cgroup is the root of it.
func mountCgroups(all []cgroupMount) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if len(all) > 1 || all[0].path != "/sys/fs/cgroup" {
		if err := unix.Mount("dslab", "/sys/fs/cgroup", "tmpfs", flags, "mode=755"); err != nil {
			return err
		}
	}
	for _, m := range all {
		if err := os.MkdirAll(m.path, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fstype, m.path, m.fstype, flags, m.options); err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		if m.fstype == "cgroup2" {
			if err := openCgroup2(m.path); err != nil {
				return err
			}
		}
	}
	return nil
}

// openCgroup2 moves us into a leaf, because a cgroup with processes may not hand controllers to its children.
func openCgroup2(root string) error {
	leaf := filepath.Join(root, initLeaf)
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte("0"), 0o600); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return err
	}
	var on []string
	for name := range strings.FieldsSeq(string(b)) {
		on = append(on, "+"+name)
	}
	if len(on) == 0 {
		return nil
	}
	return os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte(strings.Join(on, " ")), 0o600)
}
