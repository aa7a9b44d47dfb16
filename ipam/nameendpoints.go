package ipam

import (
	"context"
	"errors"
	"slices"
)

// NameEndpoints says which container has which endpoint now, by the
// endpoint's id: where a lease has another name, its container was renamed
// while it ran. Endpoints that hold no lease are passed over.
func (r *Registry) NameEndpoints(ctx context.Context, containers map[string]string) error {
	for _, name := range containers {
		if err := checkName(name); err != nil {
			return err
		}
	}
	var renamed []string
	err := r.read(ctx, func(*tx) {
		for endpoint, name := range containers {
			if slices.ContainsFunc(r.endpoints[endpoint], func(l *lease) bool { return r.renamedTo(l, name) }) {
				renamed = append(renamed, endpoint)
			}
		}
	})
	slices.Sort(renamed)
	// One by one: a commit takes no more than some.
	for _, endpoint := range renamed {
		err = errors.Join(err, r.change(ctx, func(t *tx) error {
			for _, l := range slices.Clone(r.endpoints[endpoint]) {
				if name := containers[endpoint]; r.renamedTo(l, name) {
					t.rename(l.pool, l.name, r.keyName(l.pool, name))
				}
			}
			return nil
		}))
	}
	return err
}

// renamedTo tells whether the lease's container is called name by now, and the
// lease isn't.
func (r *Registry) renamedTo(l *lease, name string) bool {
	return name != "" && l.live && l.name != r.keyName(l.pool, name)
}
