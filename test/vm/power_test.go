package vm

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// cuts is how often the power goes. A boot takes three seconds in emulation.
const cuts = 6

// books are what the guest promised, and what it has.
type books struct {
	// leased is what it said it has, by name; have is what it found at start.
	leased, have map[string]string
	found        string
	// rest is what else it said.
	rest []string
}

// TestPowerCut kills the machine while four callers ask for addresses, six
// times, on one disk. Every lease that the guest reported must be there
// afterwards, with its address and state, in a store that opens.
func TestPowerCut(t *testing.T) {
	b := prepared(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	disk, socket := newExt4(t)
	program := leasesImage(t, b)
	promised := map[string]string{}
	for n := range cuts {
		// At least some leases are said; then while some sector is written. A
		// commit writes about eight.
		after, writes := 1+rnd.IntN(200), 1+rnd.IntN(40)
		boot := b.boot(program, b.job(t, leasesJob("10m")))
		boot.Disk = socket
		got := runUntil(t, boot, disk, after, writes)
		kept, lost := disk.Cut(rnd)
		t.Logf("cut %d: %d leases found, %d more reported; of the sectors not flushed %d kept, %d lost", n+1, len(got.have), len(got.leased), kept, lost)
		compare(t, fmt.Sprintf("after cut %d", n), promised, got)
		maps.Copy(promised, got.leased)
	}
	final := boots(t, b, program, socket, leasesJob("0"))
	compare(t, "at the end", promised, final)
	if len(promised) < cuts*10 || disk.Flushes() == 0 {
		t.Errorf("%d leases and %d flushes are too few to prove anything", len(promised), disk.Flushes())
	}
}

// TestReboot lets the guest reboot in order, in the same machine.
func TestReboot(t *testing.T) {
	b := prepared(t)
	disk, socket := newExt4(t)
	boot := b.boot(leasesImage(t, b), b.job(t, Job{
		Disk: true, Again: true, Env: []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin"},
		Steps: []Step{{Name: "leases", Dir: "/", Argv: []string{"/leases", "-for", "1s"}, Seconds: 30}},
	}))
	boot.Disk, boot.Reboots = socket, true
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	m, err := Start(ctx, boot)
	must(t, err)
	before, after := newBooks(), newBooks()
	now, rebooted := before, false
	for line := range m.Lines {
		now.note(line)
		switch {
		case line == MarkReboot:
			now, rebooted = after, true
		case strings.HasPrefix(line, MarkDone) && rebooted:
			if line != MarkDone+"pass" {
				t.Errorf("the guest says: %s", line)
			}
			m.Kill() // it would boot for ever
		}
	}
	if !rebooted || len(before.leased) == 0 || after.found == "" {
		t.Fatalf("rebooted %v, %d leases before, found %q after; the guest said:\n%s", rebooted, len(before.leased), after.found,
			strings.Join(slices.Concat(before.rest, after.rest), "\n"))
	}
	t.Logf("%d leases before the reboot, %d found after it", len(before.leased), len(after.have))
	compare(t, "after the reboot", before.leased, after)
	if disk.Flushes() == 0 {
		t.Error("the guest never flushed its disk")
	}
}

// TestLyingDisk shows that the test of power cuts can fail: where the disk
// forgets what it said was safe, something must be missing.
func TestLyingDisk(t *testing.T) {
	b := prepared(t)
	disk, socket := newExt4(t)
	disk.Lies = true
	program := leasesImage(t, b)
	boot := b.boot(program, b.job(t, leasesJob("10m")))
	boot.Disk = socket
	got := runUntil(t, boot, disk, 100, 1)
	// The worst disk: nothing of it was written.
	disk.unsafe = nil
	copy(disk.now, disk.safe)
	final := boots(t, b, program, socket, leasesJob("0"))
	if missing(got.leased, final) == 0 {
		t.Error("a disk that lost everything lost no lease: the test sees nothing")
	}
}

// leasesJob asks for leases for a time, which is longer than any cut is waited for.
func leasesJob(d string) Job {
	return Job{
		Disk: true, Env: []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin"},
		Steps: []Step{{Name: "leases", Dir: "/", Argv: []string{"/leases", "-for", d}, Seconds: 660}},
	}
}

func leasesImage(t *testing.T, b *bench) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "leases")
	must(t, goBuild(t.Context(), program, "build", "./cmd/leases"))
	file := filepath.Join(b.dir, "leases.cpio")
	img, err := NewImage(file)
	must(t, err)
	img.Copy("/leases", program)
	must(t, img.Close())
	return file
}

// newExt4 serves an empty ext4 of 64 MiB.
func newExt4(t *testing.T) (*Disk, string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "disk")
	must(t, os.WriteFile(file, make([]byte, 64<<20), 0o600))
	_, err := output(t.Context(), "", "mkfs.ext4", "-q", "-F", file)
	must(t, err)
	content, err := os.ReadFile(file)
	must(t, err)
	disk, socket := NewDisk(content), filepath.Join(dir, "nbd")
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- disk.Serve(ln) }()
	t.Cleanup(func() {
		_ = ln.Close()
		if err := <-done; err != nil {
			t.Errorf("disk: %v", err)
		}
	})
	return disk, socket
}

// runUntil boots, waits for some leases and then for some writes more, and cuts
// the power.
func runUntil(t *testing.T, boot Boot, disk *Disk, leases, writes int) *books {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
	defer stop()
	m, err := Start(ctx, boot)
	must(t, err)
	got := newBooks()
	var dark <-chan struct{}
	for {
		select {
		case line, ok := <-m.Lines:
			if !ok {
				must(t, m.Wait())
				t.Fatalf("the guest ended by itself; it said:\n%s", strings.Join(got.rest, "\n"))
			}
			got.note(line)
			if strings.HasPrefix(line, MarkDone) || strings.HasPrefix(line, "leases:") {
				t.Fatalf("the guest: %s", line)
			}
			if len(got.leased) >= leases && dark == nil {
				dark = disk.Darken(writes)
			}
		case <-dark:
			for _, line := range m.Kill() {
				got.note(line)
			}
			return got
		}
	}
}

// boots lets the guest do its job to the end.
func boots(t *testing.T, b *bench, program, socket string, job Job) *books {
	t.Helper()
	boot := b.boot(program, b.job(t, job))
	boot.Disk = socket
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
	defer stop()
	m, err := Start(ctx, boot)
	must(t, err)
	got := newBooks()
	for line := range m.Lines {
		got.note(line)
		if !strings.HasPrefix(line, "HAVE ") {
			t.Log(line)
		}
	}
	must(t, m.Wait())
	return got
}

func newBooks() *books { return &books{leased: map[string]string{}, have: map[string]string{}} }

func (b *books) note(line string) {
	f := strings.Fields(line)
	switch {
	case len(f) == 4 && f[0] == "HAVE":
		b.have[f[1]] = f[2] + " " + f[3]
	case len(f) == 4 && f[0] == "LEASED":
		b.leased[f[1]] = f[2] + " " + f[3]
	case len(f) == 2 && f[0] == "FOUND":
		b.found = f[1]
	case line != "":
		b.rest = append(b.rest, line)
	}
}

func compare(t *testing.T, when string, promised map[string]string, got *books) {
	t.Helper()
	if got.found != fmt.Sprint(len(got.have)) {
		t.Fatalf("%s: the guest found %s leases and listed %d", when, got.found, len(got.have))
	}
	if n := missing(promised, got); n > 0 {
		t.Errorf("%s: of %d reported leases %d are missing or differ", when, len(promised), n)
	}
	holder := map[string]string{}
	for name, lease := range got.have {
		addr, _, _ := strings.Cut(lease, " ")
		if other := holder[addr]; other != "" {
			t.Errorf("%s: %s and %s both have %s", when, name, other, addr)
		}
		holder[addr] = name
	}
}

func missing(promised map[string]string, got *books) (n int) {
	for name, lease := range promised {
		if got.have[name] != lease {
			n++
		}
	}
	return n
}
