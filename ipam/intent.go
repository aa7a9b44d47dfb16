package ipam

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// intentSize is how large one of an intent's parts gets, in bytes: etcd takes
// 1.5 MB in a request, and one that removes a part has it as a condition.
const intentSize = 256 << 10

// intent is the head of what a host notes in the store before it changes more
// than one commit takes. It is written after its parts, is a condition of every
// commit of the change, and its removal is the change's end. While it says
// Undoing, nothing more is changed.
type intent struct {
	Version int       `json:"v"`
	What    string    `json:"what"`
	At      time.Time `json:"at"`
	Names   int       `json:"names"`
	Parts   int       `json:"parts"`
	Undoing bool      `json:"undoing,omitempty"`
}

// intentPart is some of what is changed, as the store has it before and after.
type intentPart struct {
	Pools []intentPool `json:"pools,omitempty"`
	Items []intentItem `json:"items,omitempty"`
}

type intentPool struct {
	ID  string `json:"id"`
	Old []byte `json:"old,omitempty"`
	New []byte `json:"new"`
}

type intentItem struct {
	Pool string `json:"pool"`
	Name string `json:"name"`
	Old  []byte `json:"old,omitempty"`
	New  []byte `json:"new,omitempty"`
}

func intentKey(host string) string { return importPrefix + host }

func intentPartKey(host string, n int) string {
	return importPrefix + host + "/" + strconv.Itoa(n)
}

// Unfinished is an import, or the like, that takes several commits and is under
// way, or was cut off in the middle and is not undone yet.
type Unfinished struct {
	// Host is the id of the host that does it. What this one finds of itself at
	// its start it undoes; that of a host which is gone for good, ForgetHost.
	Host string
	// What is "import" or "restore", At when it began, Names how many it is for.
	What  string
	At    time.Time
	Names int
}

// Unfinished lists what is under way, by host.
func (r *Registry) Unfinished(ctx context.Context) ([]Unfinished, error) {
	var out []Unfinished
	err := r.read(ctx, func(*tx) {
		for key, value := range r.imports {
			host := strings.TrimPrefix(key, importPrefix)
			if strings.Contains(host, "/") {
				continue
			}
			in, _ := decodeIntent(value)
			out = append(out, Unfinished{Host: host, What: in.What, At: in.At, Names: in.Names})
		}
	})
	slices.SortFunc(out, func(a, b Unfinished) int { return strings.Compare(a.Host, b.Host) })
	return out, err
}

func decodeIntent(value []byte) (intent, error) {
	var in intent
	if err := json.Unmarshal(value, &in); err != nil {
		return in, err
	}
	return in, checkVersion(in.Version)
}

// putImport puts a record of an import in place, nil for none.
func (r *Registry) putImport(key string, value []byte) {
	if value == nil {
		delete(r.imports, key)
	} else {
		r.imports[key] = value
	}
	own := intentKey(r.cfg.Host)
	mine := false
	for k := range r.imports {
		mine = mine || k == own || strings.HasPrefix(k, own+"/")
	}
	r.unfinished.Store(mine)
}

// setImport has memory know a record of an import.
func (t *tx) setImport(key string, value []byte) {
	t.undo = append(t.undo, step{kind: stepImport, name: key, oldImport: t.r.imports[key]})
	t.r.putImport(key, value)
}

// writeImport is setImport for the store as well.
func (t *tx) writeImport(key string, value []byte) {
	t.write(key)
	t.setImport(key, value)
}

// loadImports reads what this host had under way when it left the others.
func (r *Registry) loadImports(ctx context.Context) error {
	if r.shared() {
		return nil // it comes with the first change
	}
	err := r.store.Load(ctx, importPrefix, func(key string, value []byte) error {
		if own := intentKey(r.cfg.Host); key == own || strings.HasPrefix(key, own+"/") {
			r.putImport(strings.Clone(key), append([]byte{}, value...))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read imports: %w", err)
	}
	return nil
}

// intentParts are what is to change, in records of a size that the store takes.
func (r *Registry) intentParts(b *bulk) ([][]byte, error) {
	var parts [][]byte
	var part intentPart
	size := 0
	add := func(n int) error {
		if size += n; size <= intentSize {
			return nil
		}
		value, err := json.Marshal(part)
		parts, part, size = append(parts, value), intentPart{}, 0
		return err
	}
	for i := range b.pools {
		rec, err := b.pools[i].note()
		if err != nil {
			return nil, err
		}
		part.Pools = append(part.Pools, rec)
		// Bytes are written in base 64.
		if err := add(len(rec.ID) + 2*(len(rec.Old)+len(rec.New)) + 64); err != nil {
			return nil, err
		}
	}
	for i := range b.items {
		rec := b.items[i].note(r)
		part.Items = append(part.Items, rec)
		if err := add(len(rec.Pool) + len(rec.Name) + 2*(len(rec.Old)+len(rec.New)) + 64); err != nil {
			return nil, err
		}
	}
	value, err := json.Marshal(part)
	return append(parts, value), err
}

// note is what an intent has of the pool.
func (b *bulkPool) note() (intentPool, error) {
	rec := intentPool{ID: b.id}
	var err error
	if rec.New, err = encodePool(&b.new); err == nil && b.old != nil {
		rec.Old, err = encodePool(b.old)
	}
	return rec, err
}

// note is what an intent has of the name.
func (i *bulkItem) note(r *Registry) intentItem {
	rec := intentItem{Pool: i.pool, Name: i.name}
	if i.old != nil {
		rec.Old = r.encodeLease(i.old)
	}
	if i.new != nil {
		rec.New = r.encodeLease(i.new)
	}
	return rec
}

// readIntent is what a host has begun, nil where it changed nothing yet. A head
// whose parts are gone came to the store after somebody had cleared up: the process
// that sent it was killed before it knew.
func (t *tx) readIntent(host string) (intent, *bulk, error) {
	r := t.r
	value := r.imports[intentKey(host)]
	if value == nil {
		return intent{}, nil, nil
	}
	head, err := decodeIntent(value)
	if err != nil {
		return head, nil, badRecord(intentKey(host), err)
	}
	b := &bulk{}
	for n := range head.Parts {
		key := intentPartKey(host, n)
		var part intentPart
		if r.imports[key] == nil {
			t.guard(key)
			return head, nil, nil
		}
		if err := json.Unmarshal(r.imports[key], &part); err != nil {
			return head, nil, badRecord(key, err)
		}
		if err := r.readPart(b, part); err != nil {
			return head, nil, badRecord(key, err)
		}
	}
	return head, b, nil
}

func (r *Registry) readPart(b *bulk, part intentPart) error {
	for _, p := range part.Pools {
		out := bulkPool{id: p.ID}
		var err error
		if out.new, err = decodePool(p.ID, p.New); err != nil {
			return err
		}
		if p.Old != nil {
			old, err := decodePool(p.ID, p.Old)
			if err != nil {
				return err
			}
			out.old = &old
		}
		b.pools = append(b.pools, out)
	}
	for _, i := range part.Items {
		out := bulkItem{pool: i.Pool, name: i.Name}
		for _, side := range []struct {
			value []byte
			to    **lease
		}{{i.Old, &out.old}, {i.New, &out.new}} {
			if side.value == nil {
				continue
			}
			l := &lease{name: i.Name}
			if err := r.decodeLease(l, side.value); err != nil {
				return err
			}
			*side.to = l
		}
		b.items = append(b.items, out)
	}
	return nil
}
