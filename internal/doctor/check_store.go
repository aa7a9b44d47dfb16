package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var storeChecks = []check{
	{ids: []string{"store-closed", "store-away"}, twice: true, run: (*exam).store},
	{ids: []string{"store-mode"}, run: (*exam).storeMode},
	{ids: []string{"disk-full"}, run: (*exam).disks},
	{ids: []string{"clock-skew", "problem"}, twice: true, run: (*exam).problems},
}

const (
	// few is when a disk has too little left for what the store may yet want: it
	// grows by doubling, and 100,000 names are 64 MB.
	fewBytes = 128 << 20
	// share is when it's worth a word, where that is little: 5 in 100.
	share, sharedBytes = 0.05, 2 << 30
	// noBytes is when the next write may fail.
	noBytes, noInodes = 16 << 20, 64
)

func (x *exam) store(context.Context) error {
	if err := x.Store.Closed(); err != nil {
		text := strings.ReplaceAll(err.Error(), "\n", "; ")
		x.add(Finding{ID: "store-closed", What: "the store is not used: " + text, Command: cmp.Or(mendSetting(text, x.plugin()), "cat /run/dockstack/status")})
	}
	if x.alone() {
		return nil
	}
	if since, err := x.Cluster.Away(); err != nil {
		x.add(Finding{
			ID: "store-away", What: fmt.Sprintf("the shared store is away since %s: %v", since.UTC().Format(time.DateTime), err),
			Command: "etcdctl endpoint health --cluster",
		})
	}
	return nil
}

func (x *exam) storeMode(context.Context) error {
	if text, err := tooOpen(x.path(x.State), x.State); err != nil || text != "" {
		if text != "" {
			x.add(Finding{ID: "store-mode", Subject: x.State, What: text, Command: "chmod 600 " + quote(x.State)})
		}
		return err
	}
	dir := filepath.Dir(x.State)
	text, err := writable(x.path(dir), dir)
	if text != "" {
		x.add(Finding{ID: "store-mode", Subject: dir, What: text, Command: "chmod go-w " + quote(dir)})
	}
	return err
}

// writable says that others may write to a folder, and so replace what is in it.
func writable(path, name string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&othersWrite != 0 {
		return fmt.Sprintf("%s has the mode %#o: others may replace what is in it", name, info.Mode().Perm()), nil
	}
	return "", nil
}

const othersWrite = 0o022

// badSetting is how the daemon names a setting that it can't understand.
var badSetting = regexp.MustCompile(`setting (DOCKSTACK_[A-Z0-9_]+)=`)

// mendSetting changes the settings that a text complains of, "" where there are
// none.
func mendSetting(text, plugin string) string {
	var names []string
	for _, m := range badSetting.FindAllStringSubmatch(text, -1) {
		if word := m[1] + "=VALUE"; !slices.Contains(names, word) {
			names = append(names, word)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return setPlugin(plugin, names...)
}

// tooOpen says that others may read or write a file.
func tooOpen(path, name string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Sprintf("%s has the mode %#o: others may read or write it", name, info.Mode().Perm()), nil
	}
	return "", nil
}

// disks looks for room where dockstack writes.
func (x *exam) disks(context.Context) error {
	for _, dir := range []string{filepath.Dir(x.State), "/run"} {
		f, err := room(x.path(dir), dir)
		if err != nil {
			return err
		}
		if f != nil {
			x.add(*f)
		}
	}
	return nil
}

// room returns what is wrong with a disk's room, nil if nothing.
func room(path, name string) (*Finding, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil //nolint:nilnil // documented
		}
		return nil, fmt.Errorf("look at the disk of %s: %w", name, err)
	}
	return judge(space{
		bytes: st.Bavail * uint64(st.Bsize), all: st.Blocks * uint64(st.Bsize), inodes: st.Ffree, allInodes: st.Files,
	}, name), nil
}

// space is what a disk has left, and has in all.
type space struct{ bytes, all, inodes, allInodes uint64 }

func judge(s space, name string) *Finding {
	f := &Finding{
		ID: "disk-full", Subject: name, Command: fmt.Sprintf("df -h %[1]s; df -i %[1]s; du -xh -d 2 %[1]s | sort -h | tail", name),
	}
	switch {
	case s.bytes < noBytes && s.all > 0:
		f.Severity, f.What = Error, fmt.Sprintf("the disk of %s is full: %d MiB are left", name, s.bytes>>20)
	case s.allInodes > 0 && s.inodes < noInodes:
		f.Severity, f.What = Error, fmt.Sprintf("the disk of %s takes no more files: %d inodes are left", name, s.inodes)
	case s.bytes < fewBytes && s.all > 2*fewBytes, s.bytes < sharedBytes && float64(s.bytes) < share*float64(s.all):
		f.What = fmt.Sprintf("the disk of %s is nearly full: %d MiB of %d are left", name, s.bytes>>20, s.all>>20)
	case s.allInodes > 0 && float64(s.inodes) < share*float64(s.allInodes):
		f.What = fmt.Sprintf("the disk of %s takes few more files: %d inodes of %d are left", name, s.inodes, s.allInodes)
	default:
		return nil
	}
	return f
}

// problems are those of the status that nothing else finds.
func (x *exam) problems(context.Context) error {
	for _, text := range x.Store.Problems() {
		text = strings.ReplaceAll(text, "\n", "; ")
		if strings.HasPrefix(text, "clocks differ") {
			x.add(Finding{ID: "clock-skew", Subject: text, What: text, Command: "timedatectl set-ntp true"})
			continue
		}
		x.add(Finding{ID: "problem", Subject: text, What: text})
	}
	return nil
}
