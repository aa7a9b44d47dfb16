package consistency

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// kind is what an event is about.
type kind uint8

const (
	starts kind = iota // RequestAddress
	stops              // ReleaseAddress
	reserves
	unreserves
	imports  // one of an Import's names
	releases // Release, or the old name of RenameLease
	comes    // the new name of RenameLease
	writes   // a host wrote later what it had decided alone
	dies     // a host's mark is gone
	returns
	ends // what the store has at the end
)

func (k kind) String() string {
	return [...]string{"starts", "stops", "reserves", "unreserves", "imports", "releases", "comes", "writes", "dies", "returns", "ends"}[k]
}

// outcome is what became of a request.
type outcome uint8

const (
	done      outcome = iota
	alone             // done, and maybe without the store
	unknown           // failed, and maybe carried out
	refused           // not done, for sure
	elsewhere         // refused, since the name runs on another host
)

func (o outcome) String() string {
	return [...]string{"done", "alone", "unknown", "refused", "elsewhere"}[o]
}

// event is a request and its answer, or something else that happened between
// two moments.
type event struct {
	kind kind
	pool string
	name string
	host int
	out  outcome
	// addr is the address asked for or released, got the one given. Of writes
	// and ends, got is the lease's.
	addr, got netip.Addr
	// by is the host that a refusal names, or that a lease is live on; -1: none.
	by       int
	reserved bool
	err      string
	// call and ret are nanoseconds since the run began.
	call, ret int64
}

func (e event) String() string {
	s := fmt.Sprintf("%9.3f..%9.3f  h%d %s", float64(e.call)/1e6, float64(e.ret)/1e6, e.host+1, e.kind)
	if e.name != "" {
		s += " " + e.name
	}
	if e.addr.IsValid() {
		s += " at " + e.addr.String()
	}
	if e.kind < dies {
		s += ": " + e.out.String()
	}
	if e.got.IsValid() {
		s += " " + e.got.String()
	}
	if e.kind == writes || e.kind == ends || e.out == elsewhere {
		s += fmt.Sprintf(" on h%d", e.by+1)
	}
	if e.reserved {
		s += " reserved"
	}
	if e.err != "" {
		s += " (" + e.err + ")"
	}
	return s
}

// history is what happened. Its methods are safe for concurrent use.
type history struct {
	began time.Time

	mu     sync.Mutex
	events []event
}

func newHistory() *history { return &history{began: time.Now()} }

func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) add(e event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// take returns what was added since the last call.
func (h *history) take() []event {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.events
	h.events = nil
	return out
}
