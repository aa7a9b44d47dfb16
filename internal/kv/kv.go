// Package kv is the contract of dockstack's store: few keys, small values,
// writes that are durable before they are reported.
//
// Keys are slash-separated text. A store is written by one process at a time;
// what it hands out after Open is what Commit last reported as written, no
// matter how the process or the machine ended.
package kv

import (
	"context"
	"time"
)

// Op is one change: a value for a key, or the key's removal when Delete is
// set. Removing an absent key is no error.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
}

// Cond is what a key must hold for a commit to be carried out.
type Cond struct {
	Key string
	// Value is what the key must hold, byte for byte, unless Absent is set.
	Value []byte
	// Absent: the key must not be there.
	Absent bool
}

// Conflict is the error of a commit whose conditions did not all hold; nothing
// was changed. Now has the present state of every key that a condition named.
type Conflict struct{ Now []Op }

// Error implements error.
func (*Conflict) Error() string { return "the store's content is not what the commit expects" }

// Store keeps key and value pairs. Its methods are safe for concurrent use.
type Store interface {
	// Load calls fn for every key below prefix, in key order, from one
	// consistent picture. key and value are valid only during the call.
	// An error of fn ends the walk and is returned as it is. fn must not call
	// the store.
	Load(ctx context.Context, prefix string, fn func(key string, value []byte) error) error
	// Commit applies all ops or none, in order, and returns when they are
	// durable. Where one of conds does not hold, it applies none and returns a
	// *Conflict. The store keeps no reference to ops and conds. After another
	// error the ops may have been applied nevertheless, where only the answer
	// got lost; ErrNoSpace and ErrNotStorable say that they were not.
	Commit(ctx context.Context, ops []Op, conds ...Cond) error
	// Close releases the store. Later calls return ErrClosed.
	Close() error
}

// Change is news of a shared store.
type Change struct {
	// Whole: Ops are all that is there, so what is not among them is gone.
	Whole bool
	// Ops are in the order in which they were made.
	Ops []Op
	// Refresh is what Fresh asks, nil where nothing can have come meanwhile.
	Refresh func() Change
}

// Fresh is the change without what a Commit has told newer news of while it
// was on its way: who applies changes and the outcome of commits under a lock
// asks for it there, so that nothing older is applied later.
func (c Change) Fresh() Change {
	if c.Refresh == nil {
		return c
	}
	return c.Refresh()
}

// Shared is a store that several hosts write. While it can't be reached its
// methods return ErrAway, at once where that is known already.
type Shared interface {
	Store
	// MaxOps is how many ops, and how many conditions, one commit takes.
	MaxOps() int
	// Follow calls fn with everything below prefix and then with each change,
	// one call after the other, in the order in which they were made, until
	// ctx ends; it returns ctx's error. What was committed together is in one
	// Change. Where it lost the thread it begins again with everything.
	//
	// A change that is older than what a Commit of this process has told of its
	// key (by success, or in a Conflict) is left out, and so are this process'
	// own commits: who applies a Commit's outcome before he commits again, and
	// every Change, has the store's content at all times, a little late. Where a
	// Commit told newer news of a key while fn had an older change, these follow
	// in a change of their own (see also Change.Fresh). fn returns when it has
	// applied the change; it may wait for commits under way.
	Follow(ctx context.Context, prefix string, fn func(Change)) error
	// Hold keeps mark for as long as this process lives and reaches the store;
	// it returns ctx's error. mark.Held is called with true whenever the key was
	// written, and with false when it may be gone; it is then written again as
	// soon as that is possible.
	Hold(ctx context.Context, mark Mark) error
	// State tells whether the store can be reached, and why not, and a channel
	// that is closed when that changes.
	State() (away error, changed <-chan struct{})
}

// Mark is what Hold keeps.
type Mark struct {
	Key   string
	Value []byte
	// TTL is how long it outlives its process, After how long a Hold whose
	// context ended.
	TTL, After time.Duration
	// Held may be nil.
	Held func(bool)
}
