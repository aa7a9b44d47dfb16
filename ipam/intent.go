package ipam

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
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

// inPieces carries out what one commit can't take.
func (r *Registry) inPieces(ctx context.Context, what string, b *bulk) error {
	err := r.note(ctx, what, b)
	for from := 0; err == nil && from < b.steps(); {
		var next int
		err = r.change(ctx, func(t *tx) error {
			if err := t.needStore(); err != nil {
				return err
			}
			m := t.mark()
			t.guard(intentKey(r.cfg.Host))
			var err error
			next, err = t.carryOut(b, m, from)
			return err
		})
		from = next
	}
	all := err == nil
	if all {
		if err = r.endIntent(ctx, r.cfg.Host); err == nil {
			return nil
		}
	}
	// Also where the caller went away.
	undoing, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoWithin)
	defer cancel()
	found, failed := r.undoOf(undoing, r.cfg.Host)
	switch {
	case failed != nil:
		r.flushSoon()
		return fmt.Errorf("%w; what was changed so far is undone as soon as the store takes it", err)
	case all && !found:
		return nil // only the answer to the last commit got lost
	}
	return err
}

// undoWithin is how long somebody waits for what failed to be undone; it goes on
// behind him.
const undoWithin = 20 * time.Second

// note writes the intent.
func (r *Registry) note(ctx context.Context, what string, b *bulk) error {
	var parts [][]byte
	err := r.run(ctx, &call{reads: true, do: func(*tx) error {
		var err error
		parts, err = r.intentParts(b)
		return err
	}})
	host := r.cfg.Host
	for n, part := range parts {
		if err == nil {
			err = r.writeIntent(ctx, intentPartKey(host, n), part)
		}
	}
	if err != nil {
		return err
	}
	head, err := json.Marshal(intent{Version: recordVersion, What: what, At: now(r.cfg), Names: len(b.items), Parts: len(parts)})
	if err != nil {
		return err
	}
	return r.writeIntent(ctx, intentKey(host), head)
}

func (r *Registry) writeIntent(ctx context.Context, key string, value []byte) error {
	return r.change(ctx, func(t *tx) error {
		if err := t.needStore(); err != nil {
			return err
		}
		t.writeImport(key, value)
		return nil
	})
}

// intentParts are what is to change, in records of a size that the store takes.
func (r *Registry) intentParts(b *bulk) ([][]byte, error) {
	var parts [][]byte
	var part intentPart
	size := 0
	end := func() error {
		value, err := json.Marshal(part)
		parts, part, size = append(parts, value), intentPart{}, 0
		return err
	}
	for _, p := range b.pools {
		rec := intentPool{ID: p.id}
		var err error
		if rec.New, err = encodePool(&p.new); err != nil {
			return nil, err
		}
		if p.old != nil {
			if rec.Old, err = encodePool(p.old); err != nil {
				return nil, err
			}
		}
		part.Pools = append(part.Pools, rec)
		if size += 2 * (len(rec.ID) + len(rec.Old) + len(rec.New)); size > intentSize {
			if err := end(); err != nil {
				return nil, err
			}
		}
	}
	for _, i := range b.items {
		rec := intentItem{Pool: i.pool, Name: i.name}
		if i.old != nil {
			rec.Old = r.encodeLease(i.old)
		}
		if i.new != nil {
			rec.New = r.encodeLease(i.new)
		}
		part.Items = append(part.Items, rec)
		if size += len(rec.Pool) + len(rec.Name) + 2*(len(rec.Old)+len(rec.New)) + 64; size > intentSize {
			if err := end(); err != nil {
				return nil, err
			}
		}
	}
	return parts, end()
}

// endIntent removes a host's intent. With its head the change is done, or
// undone; its parts alone say nothing.
func (r *Registry) endIntent(ctx context.Context, host string) error {
	err := r.dropIntent(ctx, host, intentKey(host))
	if err != nil {
		return err
	}
	var parts []string
	err = r.read(ctx, func(*tx) {
		for key := range r.imports {
			if strings.HasPrefix(key, intentKey(host)+"/") {
				parts = append(parts, key)
			}
		}
	})
	for _, key := range parts {
		if err == nil {
			err = r.dropIntent(ctx, host, key)
		}
	}
	if err != nil {
		r.flushSoon()
		r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "what an import noted in the store stays there for now", slog.String("host", host), slog.Any("error", err))
	}
	return nil
}

func (r *Registry) dropIntent(ctx context.Context, host, key string) error {
	return r.change(ctx, func(t *tx) error {
		if err := t.needStore(); err != nil {
			return err
		}
		if r.imports[key] == nil {
			return nil
		}
		t.guardDead(host)
		t.writeImport(key, nil)
		return nil
	})
}

// guardDead says that what is done rests on the host's being dead, if it is
// another.
func (t *tx) guardDead(host string) {
	if t.r.shared() && host != t.r.cfg.Host {
		t.guardMark(host)
	}
}

// undoLeft undoes what this host found at its start, unless somebody is at it.
func (r *Registry) undoLeft(ctx context.Context) error {
	if !r.unfinished.Load() {
		return nil
	}
	select {
	case r.working <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-r.working }()
	_, err := r.undoOf(ctx, r.cfg.Host)
	return err
}

// undoOf undoes what a host has begun and nobody goes on with, and tells whether
// it found something.
func (r *Registry) undoOf(ctx context.Context, host string) (found bool, err error) {
	if host == r.cfg.Host && !r.unfinished.Load() {
		return false, nil
	}
	head, b, err := r.claimIntent(ctx, host)
	if err != nil {
		return false, err
	}
	if b == nil {
		return false, r.endIntent(ctx, host)
	}
	for from := 0; from < b.steps(); {
		var next int
		err := r.change(ctx, func(t *tx) error {
			if err := t.needStore(); err != nil {
				return err
			}
			m := t.mark()
			t.guard(intentKey(host))
			t.guardDead(host)
			next = t.undoSteps(b, m, from)
			return nil
		})
		if err != nil {
			return true, err
		}
		from = next
	}
	r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "what was cut off in the middle is undone",
		slog.String("what", head.What), slog.Time("begun", head.At), slog.Int("names", head.Names), slog.String("host", host))
	return true, r.endIntent(ctx, host)
}

// claimIntent reads what a host has begun, nil where that changed nothing yet,
// and sees to it that it goes no further: what an earlier process has on its way
// to the store is too late from here on.
func (r *Registry) claimIntent(ctx context.Context, host string) (intent, *bulk, error) {
	var b *bulk
	var head intent
	err := r.change(ctx, func(t *tx) error {
		if err := t.needStore(); err != nil {
			return err
		}
		var err error
		if head, b, err = t.readIntent(host); err != nil {
			return err
		}
		t.guard(intentKey(host))
		if b == nil {
			if t.r.imports[intentKey(host)] != nil {
				t.guardDead(host)
				t.writeImport(intentKey(host), nil)
			}
			return nil
		}
		head.Undoing = true
		value, err := json.Marshal(head)
		if err == nil {
			t.guardDead(host)
			t.writeImport(intentKey(host), value)
		}
		return err
	})
	return head, b, err
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
