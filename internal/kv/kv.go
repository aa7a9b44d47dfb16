// Package kv is the contract of dockstack's store: few keys, small values,
// writes that are durable before they are reported.
//
// Keys are slash-separated text. A store is written by one process at a time;
// what it hands out after Open is what Commit last reported as written, no
// matter how the process or the machine ended.
package kv

import "context"

// Op is one change: a value for a key, or the key's removal when Delete is
// set. Removing an absent key is no error.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
}

// Store keeps key and value pairs. Its methods are safe for concurrent use.
type Store interface {
	// Load calls fn for every key below prefix, in key order, from one
	// consistent picture. key and value are valid only during the call.
	// An error of fn ends the walk and is returned as it is. fn must not call
	// the store.
	Load(ctx context.Context, prefix string, fn func(key string, value []byte) error) error
	// Commit applies all ops or none, in order, and returns when they are
	// durable. The store keeps no reference to ops. After an error the ops
	// may have been applied nevertheless, where only the answer got lost;
	// ErrNoSpace and ErrNotStorable say that they were not.
	Commit(ctx context.Context, ops []Op) error
	// Close releases the store. Later calls return ErrClosed.
	Close() error
}
