package ipam

import (
	"context"
	"fmt"
	"net/netip"
)

// Import is what to reserve, all or nothing.
type Import struct {
	Reservations []Reservation
	// Subnets are pools to make where there is none, so that addresses are there
	// before their network: creating it with the subnet takes them over.
	Subnets []netip.Prefix
	// DryRun: only say what would happen.
	DryRun bool
}

// Plan is what an import does, or would do. Its reservations name their pools.
type Plan struct {
	// New become reservations, Same were so already.
	New, Same []Reservation
	// Replaced are those of New whose name had another address, parked, which it
	// loses.
	Replaced []Replaced
	// Clashes keep the whole from being done.
	Clashes []Clash
	// Pools are the ids of those that are made.
	Pools []string
	// Done: it was carried out.
	Done bool
}

// Replaced is a name whose parked address is exchanged for another.
type Replaced struct {
	Reservation Reservation
	Old         netip.Addr
}

// Clash is why a reservation can't be.
type Clash struct {
	Reservation Reservation
	Reason      string
}

// Import reserves addresses for names, all or nothing, also where that takes
// several commits and this process ends between them (see bulk). An address that
// any other name keeps is a clash, even where Reserve would take it: nobody looks
// at each of many. With clashes nothing is done, also in a dry run, and the error
// is ErrClash; the plan has all of them.
func (r *Registry) Import(ctx context.Context, in Import) (Plan, error) {
	var plan Plan
	look := func(t *tx) (*bulk, error) {
		var b *bulk
		plan, b = t.planImport(in)
		if len(plan.Clashes) > 0 {
			return nil, plan.clash()
		}
		return b, nil
	}
	if in.DryRun {
		var failed error
		err := r.read(ctx, func(t *tx) { _, failed = look(t) })
		if err == nil {
			err = failed
		}
		return plan, err
	}
	err := r.inBulk(ctx, "import", look)
	plan.Done = err == nil
	return plan, err
}

// clash sums the clashes up.
func (p *Plan) clash() error {
	first := p.Clashes[0]
	what := fmt.Sprintf("%s for %q", first.Reservation.Addr, first.Reservation.Name)
	if first.Reservation.Name == "" {
		what = "subnet " + first.Reservation.Pool
	}
	more := ""
	if n := len(p.Clashes) - 1; n > 0 {
		more = fmt.Sprintf("; and %d more", n)
	}
	return fmt.Errorf("%w: nothing was imported: %s: %s%s", ErrClash, what, first.Reason, more)
}
