package page

import (
	"context"

	"github.com/dockstack/dockstack/internal/admin"
)

// Source is the daemon as the page sees it: those methods of admin.Backend that
// only read. They are called by several goroutines at once.
type Source interface {
	// Status is how things stand. It answers at once, whatever is broken.
	Status(ctx context.Context) admin.Status
	// Leases are those that keep takes, by pool and address.
	Leases(ctx context.Context, keep func(admin.Lease) bool) ([]admin.Lease, error)
	// Hosts are those that names may stand on, alive or not.
	Hosts(ctx context.Context) ([]admin.Host, error)
	// Watch follows events, from the one after since on.
	Watch(since uint64) admin.Watch
	// Samples are what DNS did in the last hour, oldest first.
	Samples() []admin.DNSSample
}

var _ Source = admin.Backend(nil)
