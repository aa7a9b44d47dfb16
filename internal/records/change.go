package records

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/nearest"
)

const (
	// maxTries bounds how often a change is decided: other hosts write as well.
	maxTries = 20
	// maxChain bounds how many CNAMEs lead to one another.
	maxChain = 8
)

// Add puts a record beside what stands at its name, and returns it complete. One
// that is there already gets the TTL, and so do others of its type.
func (r *Records) Add(ctx context.Context, in Record) (Record, error) {
	rec, err := Parse(r.cfg.Zone, in)
	if err != nil {
		return rec, err
	}
	if err := r.besideContainer(rec); err != nil {
		return rec, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return rec, r.change(ctx, func() (map[string][]Record, []string, error) {
		at := r.Now().At
		chain, err := r.fits(rec, at, len(r.raw))
		if err != nil {
			return nil, nil, err
		}
		list, err := beside(rec, at(rec.Name))
		return map[string][]Record{rec.Name: list}, chain, err
	})
}

// beside are the records of a name with rec among them.
func beside(rec Record, there []Record) ([]Record, error) {
	list := []Record{rec}
	for _, old := range there {
		if old.Type == rec.Type {
			old.TTL = rec.TTL // RFC 2181, section 5.2
		}
		if old.Type != rec.Type || old.Data != rec.Data {
			list = append(list, old)
		}
	}
	if len(list) > maxAtName {
		return nil, fmt.Errorf("%w: %s has %d records, and that is the most", ErrUsage, rec.Name, maxAtName)
	}
	slices.SortFunc(list, compare)
	return list, nil
}

// besideContainer refuses what a live container would hide.
func (r *Records) besideContainer(rec Record) error {
	if r.cfg.Live == nil || rec.Type != dns.TypeA && rec.Type != dns.TypeAAAA && rec.Type != dns.TypeCNAME {
		return nil
	}
	if who := r.cfg.Live(rec.Name); who != "" {
		return fmt.Errorf("%w: %s is the name of %s, which comes before any record; choose another name, or rename the container", ErrClash, rec.Name, who)
	}
	return nil
}

// fits tells whether the record can stand beside what is at its name, with so
// many names that have records. chain are the names that this rests on.
func (r *Records) fits(rec Record, at func(name string) []Record, names int) (chain []string, err error) {
	if err := r.bad[rec.Name]; err != nil {
		return nil, fmt.Errorf("%w: what stands at %s can't be read by this version: %w; upgrade this host", ErrClash, rec.Name, err)
	}
	there := at(rec.Name)
	if len(there) == 0 && names >= maxNames {
		return nil, fmt.Errorf("%w: %d names have records, and that is the most", ErrUsage, maxNames)
	}
	for _, old := range there {
		if (old.Type == dns.TypeCNAME || rec.Type == dns.TypeCNAME) && (old.Type != rec.Type || old.Data != rec.Data) {
			return nil, fmt.Errorf("%w: a CNAME stands alone at its name, and at %s stands %s; remove that first", ErrClash, rec.Name, old)
		}
	}
	if rec.Type != dns.TypeCNAME {
		return nil, nil
	}
	path := []string{rec.Name}
	for next := strings.TrimSuffix(rec.Data, "."); ; {
		path = append(path, next)
		if next == rec.Name {
			return nil, fmt.Errorf("%w: CNAMEs would lead in a circle: %s", ErrClash, strings.Join(path, " → "))
		}
		if chain = append(chain, next); len(chain) > maxChain {
			return nil, fmt.Errorf("%w: more than %d CNAMEs would lead to one another: %s", ErrClash, maxChain, strings.Join(path, " → "))
		}
		there := at(next)
		if len(there) != 1 || there[0].Type != dns.TypeCNAME {
			return chain, nil
		}
		next = strings.TrimSuffix(there[0].Data, ".")
	}
}

// Remove removes the records of a name, of one type where that is not 0, and of
// one data where that is not "", and returns them.
func (r *Records) Remove(ctx context.Context, which Record) ([]Record, error) {
	name, err := fullName(r.cfg.Zone, which.Name, which.Type)
	if err != nil && r.Now().At(name) == nil {
		return nil, err
	}
	which.Name = name
	if which.Type != 0 && which.Data != "" {
		if data, err := fullData(r.cfg.Zone, which); err == nil {
			which.Data = data
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []Record
	err = r.change(ctx, func() (map[string][]Record, []string, error) {
		var left []Record
		gone = nil
		if r.bad[name] != nil && which.Type == 0 && which.Data == "" {
			return map[string][]Record{name: nil}, nil, nil // that much can be done
		}
		for _, old := range r.Now().At(name) {
			if (which.Type == 0 || which.Type == old.Type) && (which.Data == "" || which.Data == old.Data) {
				gone = append(gone, old)
			} else {
				left = append(left, old)
			}
		}
		if len(gone) == 0 {
			return nil, nil, r.unknown(which)
		}
		return map[string][]Record{name: left}, nil, nil
	})
	return gone, err
}

// unknown says what there is instead.
func (r *Records) unknown(which Record) error {
	at := r.Now().At(which.Name)
	if len(at) == 0 {
		var all []string
		for name := range r.Now().names.All {
			all = append(all, name)
		}
		hint := nearest.Hint(which.Name, all)
		if hint == "" && len(all) == 0 {
			hint = "; there are no records at all"
		}
		return fmt.Errorf("%w: nothing stands at `%s`%s", ErrUnknown, which.Name, hint)
	}
	var have []string
	for _, rec := range at {
		have = append(have, dns.TypeToString[rec.Type]+" "+rec.Data)
	}
	what := strings.TrimSpace(dns.TypeToString[which.Type] + " " + which.Data)
	return fmt.Errorf("%w: `%s` has no %s; it has %s", ErrUnknown, which.Name, what, strings.Join(have, ", "))
}

// change decides, writes, and decides anew where another host was faster. What
// is decided rests on the names that it replaces, and on others that it names.
func (r *Records) change(ctx context.Context, decide func() (replaced map[string][]Record, rests []string, err error)) error {
	for range maxTries {
		replaced, rests, err := decide()
		if err != nil {
			return err
		}
		ops, err := r.ops(replaced)
		if err != nil || len(ops) == 0 {
			return err
		}
		err = r.cfg.Store.Commit(ctx, ops, r.conds(replaced, rests)...)
		if conflict, ok := errors.AsType[*kv.Conflict](err); ok {
			r.learn(kv.Change{Ops: conflict.Now})
			continue
		}
		if err != nil {
			return fmt.Errorf("write the records: %w", err)
		}
		r.learn(kv.Change{Ops: ops})
		return nil
	}
	return fmt.Errorf("%w: other hosts change the same records again and again; try again", ErrClash)
}

// ops are what makes replaced so, without what is so already.
func (r *Records) ops(replaced map[string][]Record) ([]kv.Op, error) {
	var ops []kv.Op
	for _, name := range slices.Sorted(maps.Keys(replaced)) {
		value, err := encode(replaced[name])
		if err != nil {
			return nil, err
		}
		if have, there := r.raw[name]; there == (value != nil) && string(have) == string(value) {
			continue
		}
		ops = append(ops, kv.Op{Key: Prefix + name, Value: value, Delete: value == nil})
	}
	return ops, nil
}

func (r *Records) conds(replaced map[string][]Record, rests []string) []kv.Cond {
	var conds []kv.Cond
	for _, name := range slices.Sorted(maps.Keys(replaced)) {
		conds = append(conds, r.cond(name))
	}
	for _, name := range rests {
		if _, twice := replaced[name]; !twice {
			conds = append(conds, r.cond(name))
		}
	}
	return conds
}

func (r *Records) cond(name string) kv.Cond {
	value, there := r.raw[name]
	return kv.Cond{Key: Prefix + name, Value: value, Absent: !there}
}
