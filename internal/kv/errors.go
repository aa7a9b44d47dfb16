package kv

import "errors"

// Errors of opening a store: the file is left exactly as it was.
var (
	// ErrDamaged: the content cannot be what dockstack wrote.
	ErrDamaged = errors.New("store is damaged")
	// ErrNewer: a newer dockstack wrote it, in a format unknown here.
	ErrNewer = errors.New("store was written by a newer version")
	// ErrReadOnly: the file or its file system does not allow writing.
	ErrReadOnly = errors.New("store is read-only")
	// ErrLocked: another process has it open.
	ErrLocked = errors.New("store is in use by another process")
)

// Errors of using one.
var (
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrNoSpace: the disk is full; nothing was written.
	ErrNoSpace = errors.New("no space left for the store")
	// ErrNotStorable: an op is not one that every store takes (see CheckOps);
	// nothing was written.
	ErrNotStorable = errors.New("not storable")
	// ErrFailed: a write failed in a way that leaves open what is on the disk.
	// The store refuses to go on until it is opened again.
	ErrFailed = errors.New("store failed")
	// ErrAway: a shared store can't be reached, or has no leader. Where a commit
	// was under way it may have been applied.
	ErrAway = errors.New("the store is away")
)
