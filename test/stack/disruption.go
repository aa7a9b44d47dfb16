package stack

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// Kept is what a stack has to have after a storm as it had it before.
type Kept struct {
	*Stack
	What  What
	Image string // an image's name
	Sum   string // and its SHA-256
	VMs   []VM   // none for a stack without virtual machines
	// Before is every container's addresses.
	Before lab.Picture
}

// recoverLimit is how long each thing may take to work again after a storm. An idle machine takes a tenth of it.
const recoverLimit = 10 * time.Minute

// Keep remembers what a stack has that is up and has a client.
func (s *Stack) Keep(ctx context.Context, w What, vms []VM) (*Kept, error) {
	k := &Kept{Stack: s, What: w, Image: "kept", VMs: vms}
	var err error
	if k.Sum, err = s.UploadImage(ctx, k.Image, 5<<20); err != nil {
		return nil, err
	}
	k.Before, err = s.Picture(ctx)
	return k, err
}

// After lets a storm come over a stack, and waits, with nobody touching anything, until all containers are healthy, a
// token is issued, the image reads back byte for byte, virtual machines reach each other, and every
// address is as it was. The log has a line for each storm, which cmd/results makes a table of.
func (k *Kept) After(t *testing.T, storm Storm) {
	t.Helper()
	ctx := t.Context()
	began := time.Now()
	if err := storm.Do(ctx, k.Stack, k.What); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	began = time.Now()
	line := []string{fmt.Sprintf("storm %q: took %.1f s", storm.Name, took.Seconds())}
	steps := []struct {
		what string
		do   func() error
	}{
		{"healthy", func() error { return k.Healthy(ctx, recoverLimit) }},
		{"token", func() error { return retry(ctx, recoverLimit, func() error { return k.Token(ctx) }) }},
		{"image", func() error {
			return retry(ctx, recoverLimit, func() error { return k.SameImage(ctx, k.Image, k.Sum) })
		}},
		{"virtual machines", func() error { return k.CheckVMs(ctx, recoverLimit, k.VMs) }},
	}
	for _, step := range steps {
		if step.what == "virtual machines" && len(k.VMs) == 0 {
			continue
		}
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.what, err)
			line = append(line, step.what+" never")
			continue
		}
		line = append(line, fmt.Sprintf("%s after %.1f s", step.what, time.Since(began).Seconds()))
	}
	now, err := k.Picture(ctx)
	if err != nil {
		t.Error(err)
	}
	changed := k.Before.Changed(now)
	for _, c := range changed {
		t.Error(c)
	}
	t.Logf("%s; %d of %d addresses changed", strings.Join(line, ", "), len(changed), len(k.Before))
}

// Through lets storms come over a stack, each as a test of its own.
func (k *Kept) Through(t *testing.T, storms []Storm) {
	t.Helper()
	for _, storm := range storms {
		ok := t.Run(strings.ReplaceAll(storm.Name, " ", "-"), func(t *testing.T) { k.After(t, storm) })
		if !ok {
			t.Log(k.Unwell(t.Context()))
		}
	}
}
