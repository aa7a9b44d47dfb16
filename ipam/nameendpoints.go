package ipam

import "context"

// NameEndpoints says which container has which endpoint now, by the
// endpoint's id: where a lease has another name, its container was renamed
// while it ran. Endpoints that hold no lease are passed over.
func (r *Registry) NameEndpoints(ctx context.Context, containers map[string]string) error {
	for _, name := range containers {
		if err := checkName(name); err != nil {
			return err
		}
	}
	return r.change(ctx, func(t *tx) error {
		for endpoint, name := range containers {
			for _, l := range append([]*lease(nil), r.endpoints[endpoint]...) {
				if name != "" && l.name != r.keyName(l.pool, name) && l.live {
					t.rename(l.pool, l.name, r.keyName(l.pool, name))
				}
			}
		}
		return nil
	})
}
