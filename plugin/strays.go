package plugin

import (
	"context"
	"errors"
	"time"
)

// EndStrays ends what this host does with pools for networks that it does not
// have: ones that were removed while a shared store was away, which was
// forgotten when the process ended before it came back, or whose making was cut
// off. No engine would ever remove them, and none could make another on their
// subnets. A network is in the leases before it is recorded, so it has to be
// seen as a stray twice, forgetAfter apart.
func (d *Driver) EndStrays(ctx context.Context, st *State) error {
	seen := map[string]time.Time{}
	var over []string
	d.mu.Lock()
	for _, p := range st.Leases.Pools() {
		if _, ours := d.networks[p.Network]; p.Network == "" || ours || !d.restored {
			continue
		}
		first, before := d.strays[p.Network]
		if !before {
			first = time.Now()
		}
		seen[p.Network] = first
		if time.Since(first) > forgetAfter {
			over = append(over, p.Network)
		}
	}
	d.strays = seen
	d.mu.Unlock()
	var errs []error
	for _, id := range over {
		d.log.Warn("a network that is not there any more frees its subnet", "network", id)
		errs = append(errs, st.Leases.Unbind(ctx, id))
	}
	return errors.Join(errs...)
}
