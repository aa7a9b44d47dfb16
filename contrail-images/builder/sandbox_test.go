package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sandbox is a root file system for one entrypoint: this machine's programs, an /etc of its own, and what the image's
// Dockerfiles COPY. So entrypoints are tried without an engine, and what they write can be looked at.
type sandbox struct {
	root, local string // local becomes /usr/local
	config      imageConfig
	groups      map[uint32]string
	before      map[string]time.Time
}

// serviceGroups are those that Debian's packages make. The base image hasn't got them.
const serviceGroups = `bind cinder designate glance haproxy heat horizon keystone libvirt libvirt-qemu memcache mysql
	neutron nova openvswitch placement puppet rabbitmq rally redis tempest www-data zookeeper`

// inside mounts what the sandbox shares with this machine and goes in. It runs in its own mount namespace.
const inside = `
root=$1; local=$2; shift 2
mount --make-rprivate /
hostname host1
for d in bin sbin lib lib32 lib64 libx32; do
	if [ -L "/$d" ]; then ln -sfn "$(readlink "/$d")" "$root/$d"; fi
done
mount --rbind /usr "$root/usr"
mount -o remount,bind,ro "$root/usr"
mount --bind "$local" "$root/usr/local"
mount -t proc proc "$root/proc"
for d in null zero full random urandom; do
	: >"$root/dev/$d"
	mount --bind "/dev/$d" "$root/dev/$d"
done
exec chroot "$root" "$@"
`

func newSandbox(t *testing.T, i *image, groups bool) *sandbox {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("these tests make mount namespaces: run them as root")
	}
	box := &sandbox{root: t.TempDir(), local: t.TempDir(), config: i.config(), groups: map[uint32]string{0: "root"}}
	must(t, os.Chmod(box.root, 0o755))
	for _, dir := range []string{"dev", "etc", "home", "opt", "proc", "root", "run", "srv", "tmp", "usr", "var/lib", "var/log", "var/run", "sys"} {
		must(t, os.MkdirAll(filepath.Join(box.root, dir), 0o755))
	}
	must(t, os.Chmod(filepath.Join(box.root, "tmp"), 0o777|fs.ModeSticky))
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		must(t, os.Symlink(target, filepath.Join(box.root, "dev", name)))
	}
	users, group := "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n", "root:x:0:\nnogroup:x:65534:\n"
	if groups {
		for n, name := range strings.Fields(serviceGroups) {
			box.groups[uint32(900+n)] = name
			users += fmt.Sprintf("%s:x:%d:%d::/var/lib/%s:/bin/false\n", name, 900+n, 900+n, name)
			group += fmt.Sprintf("%s:x:%d:\n", name, 900+n)
		}
	}
	for name, text := range map[string]string{
		"passwd": users, "group": group, "hosts": "127.0.0.1 localhost\n", "resolv.conf": "nameserver 127.0.0.11\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
	} {
		must(t, os.WriteFile(filepath.Join(box.root, "etc", name), []byte(text), 0o644))
	}
	must(t, os.Symlink("/usr/share/zoneinfo/Etc/UTC", filepath.Join(box.root, "etc", "localtime")))
	alternatives := filepath.Join(box.root, "etc", "alternatives")
	must(t, os.Mkdir(alternatives, 0o755))
	must(t, os.Symlink("/usr/bin/mawk", filepath.Join(alternatives, "awk")))
	for _, command := range box.config.copies {
		for _, source := range command.SourcePaths {
			box.copy(t, source, command.DestPath, len(command.SourcePaths) > 1)
		}
	}
	if _, path := i.entrypoint(images); len(box.config.entrypoint) == 0 { // that of the image under it, which is not ours
		box.config.entrypoint = []string{path}
	}
	box.before = box.times(t)
	return box
}

// copy does a COPY of the Dockerfile: a folder's content into a folder, a file to a path or into a folder.
func (b *sandbox) copy(t *testing.T, source, dest string, several bool) {
	t.Helper()
	from, to := filepath.Join(images, source), dest
	info, err := os.Stat(from)
	if err != nil {
		t.Fatalf("COPY %s: %v", source, err)
	}
	if !info.IsDir() && (several || strings.HasSuffix(dest, "/")) {
		to = path.Join(dest, path.Base(source))
	}
	target := filepath.Join(b.root, to)
	if rest, is := strings.CutPrefix(to, "/usr/local"); is {
		target = filepath.Join(b.local, rest)
	} else if strings.HasPrefix(to, "/usr/") {
		t.Fatalf("COPY %s %s: this test shares /usr with the machine: files of ours go to /usr/local", source, dest)
	}
	must(t, os.MkdirAll(filepath.Dir(target), 0o755))
	if info.IsDir() {
		must(t, os.CopyFS(target, os.DirFS(from)))
		return
	}
	text, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(target, text, info.Mode().Perm()))
	must(t, os.Chmod(target, info.Mode().Perm()))
}

// run starts the entrypoint with the image's command, as process 1 and without a network, and returns what it printed.
func (b *sandbox) run(env map[string]string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args := append([]string{"-eu", "-c", inside, "bash", b.root, b.local}, b.config.entrypoint...)
	cmd := exec.CommandContext(ctx, "/bin/bash", append(args, b.config.command...)...)
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "HOSTNAME=host1"}, b.config.env...)
	for key, value := range env {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	cmd.Env = append(cmd.Env, "RENDER_ONLY=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("it didn't end within 2 minutes: it waits for somebody, though it was only to render")
	}
	return string(out), err
}

// files of the sandbox as the entrypoint sees them: path there and here.
func (b *sandbox) files(t *testing.T, each func(path, here string, info fs.FileInfo)) {
	t.Helper()
	for at, prefix := range map[string]string{b.root: "/", b.local: "/usr/local"} {
		must(t, filepath.WalkDir(at, func(here string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			rest, err := filepath.Rel(at, here)
			if err != nil || strings.HasPrefix(rest, "dev/") || !strings.Contains(rest, "/") && entry.Type()&fs.ModeSymlink != 0 {
				return err
			}
			info, err := entry.Info()
			if err == nil {
				each(path.Join(prefix, rest), here, info)
			}
			return err
		}))
	}
}

func (b *sandbox) times(t *testing.T) map[string]time.Time {
	t.Helper()
	times := map[string]time.Time{}
	b.files(t, func(path, _ string, info fs.FileInfo) { times[path] = info.ModTime() })
	return times
}

// written are the files that are new or changed.
func (b *sandbox) written(t *testing.T) rendering {
	t.Helper()
	var all rendering
	b.files(t, func(path, here string, info fs.FileInfo) {
		if at, is := b.before[path]; is && at.Equal(info.ModTime()) {
			return
		}
		file := renderedFile{path: path, mode: info.Mode().Perm()}
		gid := info.Sys().(*syscall.Stat_t).Gid
		if file.group = b.groups[gid]; file.group == "" {
			file.group = strconv.Itoa(int(gid))
		}
		var err error
		if info.Mode()&fs.ModeSymlink != 0 {
			file.target, err = os.Readlink(here)
			must(t, err)
		} else {
			text, err := os.ReadFile(here)
			must(t, err)
			file.text = string(text)
		}
		all = append(all, file)
	})
	return all
}
