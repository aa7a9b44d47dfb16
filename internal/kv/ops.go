package kv

import (
	"bytes"
	"fmt"
)

// What every store takes. A commit beyond it is refused with ErrNotStorable.
const (
	MaxKey   = 4096
	MaxValue = 1 << 20
)

// CheckOps tells whether every store takes ops and conds: keys are neither
// empty nor longer than MaxKey, values no longer than MaxValue.
func CheckOps(ops []Op, conds ...Cond) error {
	for _, op := range ops {
		if err := check(op.Key, op.Value); err != nil {
			return err
		}
	}
	for _, c := range conds {
		if err := check(c.Key, c.Value); err != nil {
			return err
		}
	}
	return nil
}

func check(key string, value []byte) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: a key is empty", ErrNotStorable)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: key %.64q… has %d bytes, %d is the most", ErrNotStorable, key, len(key), MaxKey)
	case len(value) > MaxValue:
		return fmt.Errorf("%w: the value of %.64q has %d bytes, %d is the most", ErrNotStorable, key, len(value), MaxValue)
	}
	return nil
}

// CheckSize tells whether a store that takes most ops and most conditions in a
// commit takes these.
func CheckSize(most int, ops []Op, conds []Cond) error {
	if len(ops) > most || len(conds) > most {
		return fmt.Errorf("%w: %d ops and %d conditions in one commit, %d of each is the most", ErrNotStorable, len(ops), len(conds), most)
	}
	return nil
}

// Unmet is the conflict of a commit with conds, nil where all hold. get
// returns what a key holds, without handing it over.
func Unmet(conds []Cond, get func(key string) (value []byte, there bool)) *Conflict {
	met := true
	for _, c := range conds {
		value, there := get(c.Key)
		met = met && there != c.Absent && (c.Absent || bytes.Equal(value, c.Value))
	}
	if met {
		return nil
	}
	out := &Conflict{}
	named := map[string]struct{}{}
	for _, c := range conds {
		if _, again := named[c.Key]; again {
			continue
		}
		named[c.Key] = struct{}{}
		value, there := get(c.Key)
		op := Op{Key: c.Key, Delete: !there}
		if there {
			op.Value = append([]byte{}, value...)
		}
		out.Now = append(out.Now, op)
	}
	return out
}
