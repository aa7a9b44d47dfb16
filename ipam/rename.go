package ipam

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// Rename says that a running container has another name now: its live
// addresses go with it. An address that was parked for the new name is parked
// under the old one, so nothing is lost.
func (r *Registry) Rename(ctx context.Context, from, to string) error {
	if err := checkName(to); err != nil {
		return err
	}
	if from == "" || to == "" || from == to {
		return fmt.Errorf("%w: renaming %q to %q", ErrNoName, from, to)
	}
	return r.change(ctx, func(t *tx) error {
		for _, p := range t.r.pools {
			t.rename(p, r.keyName(p, from), r.keyName(p, to))
		}
		return nil
	})
}

func (t *tx) rename(p *pool, from, to string) {
	l := p.renamed(from)
	if l == nil {
		return
	}
	there := p.names[to]
	if p.virtual(to) {
		t.warn("a renamed container's address stays under its old name: the new one is a virtual address",
			slog.String("network", p.rec.network()), slog.String("name", from), slog.String("addr", l.addr.String()), slog.String("to", to))
		return
	}
	if there != nil && t.held(there) {
		t.warn("a renamed container's address stays under its old name: the new one has a running container",
			slog.String("network", p.rec.network()), slog.String("name", from), slog.String("addr", l.addr.String()), slog.String("to", to))
		return
	}
	t.drop(l)
	if there != nil {
		t.drop(there)
		t.leave(there, l, from)
	}
	moved := *l
	moved.name = to
	t.put(&moved)
}

// leave parks what the new name had under the old one, unless a new container
// has come under that meanwhile.
func (t *tx) leave(there, moving *lease, from string) {
	if moving.name != from {
		t.warn("a parked name loses its address: a running container was renamed to it and brings its own",
			slog.String("network", there.pool.rec.network()), slog.String("name", there.name), slog.String("addr", there.addr.String()), slog.String("to", moving.addr.String()))
		return
	}
	left := *there
	left.name, left.live, left.endpoint, left.unsure = from, false, "", false
	t.put(&left)
}

// renamed is the live lease of the container that used to be called from: the
// one set apart when a new container came under that name, else the name's.
func (p *pool) renamed(from string) *lease {
	var oldest *lease
	for name, l := range p.names {
		if l.live && l.host == me && strings.HasPrefix(name, from+placeholderMark) && (oldest == nil || l.since < oldest.since) {
			oldest = l
		}
	}
	if oldest != nil {
		return oldest
	}
	if l := p.names[from]; l != nil && l.live && l.host == me {
		return l
	}
	return nil
}
