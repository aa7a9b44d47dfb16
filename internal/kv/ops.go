package kv

import "fmt"

// What every store takes. A commit beyond it is refused with ErrNotStorable.
const (
	MaxKey   = 4096
	MaxValue = 1 << 20
)

// CheckOps tells whether every store takes the ops: keys are neither empty
// nor longer than MaxKey, values no longer than MaxValue.
func CheckOps(ops []Op) error {
	for _, op := range ops {
		switch {
		case op.Key == "":
			return fmt.Errorf("%w: a key is empty", ErrNotStorable)
		case len(op.Key) > MaxKey:
			return fmt.Errorf("%w: key %.64q… has %d bytes, %d is the most", ErrNotStorable, op.Key, len(op.Key), MaxKey)
		case len(op.Value) > MaxValue:
			return fmt.Errorf("%w: the value of %.64q has %d bytes, %d is the most", ErrNotStorable, op.Key, len(op.Value), MaxValue)
		}
	}
	return nil
}
