package admin

import (
	"context"
	"io"
)

// Backend is what answers: the daemon. Its methods are safe for concurrent use.
// Errors that are no *Error count as CodeFailed. What needs the store waits for
// it as long as ctx allows, or says with CodeAway why it is not there; the others
// answer at once, whatever is broken.
type Backend interface {
	// Status is how things stand.
	Status(ctx context.Context) Status
	// Leases are those that keep takes, by pool and address.
	Leases(ctx context.Context, keep func(Lease) bool) ([]Lease, error)
	// Pools are all that have leases or a network, by id.
	Pools(ctx context.Context) ([]Pool, error)
	// Hosts are those that names may stand on, alive or not.
	Hosts(ctx context.Context) ([]Host, error)

	// Reserve keeps an address for a name. The reservation names a pool or an
	// address, or both.
	Reserve(ctx context.Context, r Reservation) (Lease, error)
	// Release ends what is kept for the name in the pools, or in all where none is
	// named; RenameLease gives it to another. Both do so in all of them or in none.
	Release(ctx context.Context, name string, pools ...string) error
	RenameLease(ctx context.Context, from, to string, pools ...string) error
	// Import takes in reservations, all or nothing. Where there are clashes the
	// error says so, and the plan has them.
	Import(ctx context.Context, in Import) (Plan, error)
	// ForgetHost forgets a machine that is gone for good, by its id.
	ForgetHost(ctx context.Context, id string) error

	// Backup writes everything that is kept, as it is at one moment.
	Backup(ctx context.Context, to io.Writer) error
	// Restore puts what Backup wrote in the place of what is kept, all or nothing.
	Restore(ctx context.Context, from io.Reader, mode RestoreMode) (Restore, error)

	// Ask has the daemon's DNS answer.
	Ask(ctx context.Context, q Question) (Answer, error)
	// Records are the operator's, by name and type.
	Records(ctx context.Context) ([]Record, error)
	// AddRecord adds one; RemoveRecord removes those of its name, and of its type
	// and value where it has them, and returns which those were.
	AddRecord(ctx context.Context, r Record) (Record, error)
	RemoveRecord(ctx context.Context, r Record) ([]Record, error)

	// Doctor looks for what is wrong.
	Doctor(ctx context.Context, mode DoctorMode) (Report, error)

	// Watch follows events, from the one after since on as far as they are still
	// known; LatestEvent begins with the next.
	Watch(since uint64) Watch
	// Samples are what DNS did lately, oldest first.
	Samples() []DNSSample
}

// LatestEvent is a since that no event has: only those to come.
const LatestEvent = ^uint64(0)

// Watch hands out events. One goroutine uses it.
type Watch interface {
	// Next returns the events since the last call, and waits for one where there
	// is none. It fails when ctx ends, and where its user was too slow.
	Next(ctx context.Context) ([]Event, error)
	Close()
}

// RestoreMode says whether a restore is carried out.
type RestoreMode string

// The modes.
const (
	RestoreDry  RestoreMode = "dry"
	RestoreReal RestoreMode = "real"
)

// DoctorMode says whether what is safe to mend is mended.
type DoctorMode string

// The modes.
const (
	DoctorLook DoctorMode = "look"
	DoctorFix  DoctorMode = "fix"
)
