// Package doctor finds what is wrong on a host, says what mends it, and mends
// what can't hurt a running container.
//
// A finding is about what is, not about what was tried: links, ports, flows,
// leases and sockets are compared with what should be there. What may just be on
// its way is looked at twice, some seconds apart. What can't be looked at is a
// finding too, never a silent "fine".
//
// The daemon has Check and Fix. Local is for when there is none to ask.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

// Severity is how bad a finding is.
type Severity string

// The severities.
const (
	// OK: this was looked at, and is as it should be.
	OK Severity = "ok"
	// Note: good to know.
	Note Severity = "note"
	// Warning: it works, but not as it should, or not for long.
	Warning Severity = "warning"
	// Error: something does not work.
	Error Severity = "error"
)

// rank orders severities, the worst first.
func (s Severity) rank() int { return slices.Index([]Severity{Error, Warning, Note, OK}, s) }

// Finding is one thing that was found.
type Finding struct {
	// ID is one of the Kinds'.
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	// Subject is what it is about, such as a port or a container; "" where there
	// is only one of its kind.
	Subject string `json:"subject,omitempty"`
	// What is in one sentence what is wrong, Why what follows from it, or what
	// speaks for it.
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
	// Command is what mends it, on the host.
	Command string `json:"command,omitempty"`
	// Fix: Fix does so, too.
	Fix bool `json:"fix,omitempty"`
}

// settle is how long after the first look the second one is taken: removed ports
// gather for one second, and a container that starts is through in less.
const settle = 2500 * time.Millisecond

// Check looks at everything. It takes some seconds; what did not come to an end
// with ctx is told as not looked at.
func Check(ctx context.Context, h Host) []Finding {
	if h.Settle == 0 {
		h.Settle = settle
	}
	began := time.Now()
	first := newExam(h)
	first.look(ctx, func(c check) bool { return c.twice })
	once := newExam(h)
	once.look(ctx, func(c check) bool { return !c.twice })
	out := once.found
	if len(first.found) > 0 {
		wait(ctx, h.Settle-time.Since(began))
		second := newExam(h)
		second.look(ctx, func(c check) bool { return c.twice })
		out = append(out, inBoth(first.found, second.found)...)
	}
	return inOrder(append(out, fine(out)...))
}

// inBoth are the findings of now that were there before.
func inBoth(before, now []Finding) []Finding {
	return slices.DeleteFunc(now, func(f Finding) bool {
		return !slices.ContainsFunc(before, func(b Finding) bool { return b.ID == f.ID && b.Subject == f.Subject })
	})
}

// fine are the findings of what is as it should be.
func fine(found []Finding) []Finding {
	bad := map[string]bool{}
	for _, f := range found {
		bad[f.ID] = true
		if f.ID == Blind {
			bad[f.Subject] = true
		}
	}
	var out []Finding
	for _, k := range Kinds {
		if !bad[k.ID] && !k.Local && k.Fine != "" {
			out = append(out, Finding{ID: k.ID, Severity: OK, What: k.Fine})
		}
	}
	return out
}

func inOrder(all []Finding) []Finding {
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Severity.rank(), b.Severity.rank()), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Subject, b.Subject))
	})
	return all
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// check is one thing to look at, for findings of some kinds.
type check struct {
	ids []string
	// twice: what it finds may be on its way.
	twice bool
	run   func(*exam, context.Context) error
}

// exam is one look at a host.
type exam struct {
	Host
	found []Finding
	eng   *engineSeen
	// What Fix lets go of.
	staleEndpoints []string
	staleLeases    []ipam.Lease
}

func newExam(h Host) *exam { return &exam{Host: h} }

// look runs the checks that are wanted, one after the other.
func (x *exam) look(ctx context.Context, wanted func(check) bool) {
	_, _ = x.ask(ctx) // names and commands come from it; a check tells of its error
	for _, c := range checks {
		if !wanted(c) {
			continue
		}
		err := c.run(x, ctx)
		if err == nil || errors.Is(err, errElsewhere) {
			continue
		}
		for _, id := range c.ids {
			if !slices.ContainsFunc(x.found, func(f Finding) bool { return f.ID == id }) {
				x.add(Finding{ID: Blind, Subject: id, What: fmt.Sprintf("could not look for %s: %v", id, err)})
			}
		}
	}
}

// errElsewhere ends a check whose cause another check names.
var errElsewhere = errors.New("named by another check")

// add takes a finding, with what its kind says where it doesn't itself. One
// that was found before is the same.
func (x *exam) add(f Finding) {
	if !slices.ContainsFunc(x.found, func(o Finding) bool { return o.ID == f.ID && o.Subject == f.Subject }) {
		x.found = append(x.found, complete(f))
	}
}

func complete(f Finding) Finding {
	k := kindOf(f.ID)
	f.Severity = cmp.Or(f.Severity, k.Severity)
	f.Why = cmp.Or(f.Why, k.Means)
	f.Fix = f.Fix || k.Fix
	if f.Command == "" && f.Fix {
		f.Command = "dockstack doctor --fix"
	}
	return f
}
