package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Result is what became of one kind of finding.
type Result struct {
	ID string `json:"id"`
	// Done is what was done, "" if nothing.
	Done string `json:"done,omitempty"`
	// Error is why it did not work.
	Error string `json:"error,omitempty"`
}

// Fix mends findings, by their IDs; none: all that it can. Nothing that it does
// can hurt a running container: it removes what belongs to nothing, and puts back
// what should be there. IDs that it can't mend are results with an error.
func Fix(ctx context.Context, h Host, ids []string) []Result {
	if len(ids) == 0 {
		for _, k := range Kinds {
			if k.Fix {
				ids = append(ids, k.ID)
			}
		}
	}
	done := map[string]error{}
	out := make([]Result, 0, len(ids))
	for _, id := range ids {
		i := slices.IndexFunc(mends, func(m mend) bool { return slices.Contains(m.ids, id) })
		if i < 0 {
			out = append(out, Result{ID: id, Error: "this is not mended by --fix: see the command of the finding"})
			continue
		}
		m := mends[i]
		err, before := done[m.what]
		if !before {
			err = m.do(ctx, h)
			done[m.what] = err
		}
		if err != nil {
			out = append(out, Result{ID: id, Error: err.Error()})
			continue
		}
		out = append(out, Result{ID: id, Done: m.what})
	}
	return out
}

// mend is one thing that Fix does, for findings of some kinds.
type mend struct {
	ids  []string
	what string
	do   func(context.Context, Host) error
}

var mends = []mend{
	{
		// First: what it lets go of, the next makes go.
		ids: []string{"stale-endpoint", "stale-lease"}, what: "endpoints and leases that no container has were let go of",
		do: letGo,
	},
	{
		ids:  []string{"switch-lagging", "stale-port", "stale-flow", "missing-flow", "stale-link", "link-down", "link-mtu", "gateway-missing", "filter-missing"},
		what: "ports, flows, links and rules were made as they should be",
		do:   func(ctx context.Context, h Host) error { return h.Fabric.Resync(ctx) },
	},
	{
		ids: []string{"dns-listener", "dns-redirect"}, what: "the redirection was made and the addresses opened anew",
		do: func(ctx context.Context, h Host) error { return h.Mender.ServeDNS(ctx) },
	},
	{
		ids: []string{"store-mode"}, what: "others lost their rights to the store",
		do: func(_ context.Context, h Host) error {
			if err := os.Chmod(h.path(h.State), 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("take others' rights to %s away: %w", h.State, err)
			}
			dir := filepath.Dir(h.State)
			info, err := os.Stat(h.path(dir))
			if err == nil && info.Mode().Perm()&othersWrite != 0 {
				err = os.Chmod(h.path(dir), info.Mode()&^othersWrite)
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("take others' rights to %s away: %w", dir, err)
			}
			return nil
		},
	},
}

// letGo ends what no container has, which both of two looks have to find.
func letGo(ctx context.Context, h Host) error {
	if h.Settle == 0 {
		h.Settle = settle
	}
	look := func() (*exam, error) {
		x := newExam(h)
		return x, errors.Join(x.endpoints(ctx), x.leases(ctx))
	}
	first, err := look()
	if err != nil {
		return err
	}
	if len(first.staleEndpoints)+len(first.staleLeases) == 0 {
		return nil
	}
	wait(ctx, h.Settle)
	second, err := look()
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range second.staleEndpoints {
		if slices.Contains(first.staleEndpoints, id) {
			errs = append(errs, h.Mender.Drop(ctx, id))
		}
	}
	for _, l := range second.staleLeases {
		if slices.Contains(first.staleLeases, l) {
			errs = append(errs, h.Mender.Park(ctx, l))
		}
	}
	return errors.Join(errs...)
}
