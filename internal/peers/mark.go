package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

const (
	// TTL is how long a host that died hard still counts as alive. Its names
	// can't move before, and too short a one lets names move when a host or the
	// network only hangs.
	TTL = 10 * time.Second
	// After is how long a host that stopped cleanly counts as alive: as long as
	// upgrading the plugin takes, in which its containers go on running.
	After = 60 * time.Second
	// RewriteEvery is how often at least the mark is written anew, to show the
	// clock.
	RewriteEvery = 5 * time.Minute
	// recheckPause is how often a key that another machine has is looked at.
	recheckPause = 2 * time.Second
)

// ownMark is how this host's mark stands.
type ownMark struct {
	store kv.Shared // nil before Run
	value []byte
	held  bool
	// usurped is why it can't be held: another machine has the key.
	usurped error
	// since is when the mark began to be held without a break.
	since time.Time
	// news is closed when any of this changes.
	news chan struct{}
}

func (p *Peers) key() string { return Prefix + p.self.ID } // the id never changes

// Mark returns the key and the value that this host's mark has, or is about to
// have: the condition of its commits. After a conflict ask Held, and then again.
func (p *Peers) Mark() (key string, value []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.key(), p.own.value
}

// Holds is whether the mark stands in the store, as far as is known.
func (p *Peers) Holds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.own.held && p.own.usurped == nil
}

// Held waits until this host's mark stands in the store. Where another machine
// has it, or the store is known to be away, it says so at once; else when ctx
// ends.
func (p *Peers) Held(ctx context.Context) error {
	for {
		p.mu.Lock()
		own := p.own
		p.mu.Unlock()
		if own.usurped != nil {
			return own.usurped
		}
		if own.held {
			return nil
		}
		var moved <-chan struct{} // nil, so it never comes
		if own.store != nil {
			away, changed := own.store.State()
			if away != nil {
				return fmt.Errorf("this host's mark is not in the store: %w", away)
			}
			moved = changed
		}
		select {
		case <-own.news:
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("this host's mark is not in the store yet: %w", ctx.Err())
		}
	}
}

// Refused is why this host's mark can't be held for longer: another machine has
// its identity.
func (p *Peers) Refused() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.own.usurped
}

// update changes how the mark stands and tells whoever waits for it.
func (p *Peers) update(change func(*ownMark)) {
	p.mu.Lock()
	before := p.own
	change(&p.own)
	if p.own.held && !before.held {
		p.own.since = p.now()
	}
	close(p.own.news)
	p.own.news = make(chan struct{})
	news := p.judgeLocked() || before.held != p.own.held
	p.mu.Unlock()
	if news {
		p.changed()
	}
}

// Run keeps this host's mark in the store until ctx ends, and returns ctx's
// error. While another machine has the key it waits.
func (p *Peers) Run(ctx context.Context, store kv.Shared) error {
	p.update(func(o *ownMark) { o.store = store })
	defer p.update(func(o *ownMark) { o.store, o.held = nil, false })
	for ctx.Err() == nil {
		if err := p.claim(ctx, store); err != nil {
			return err
		}
		if err := p.hold(ctx, store); err != nil && ctx.Err() == nil {
			p.log.Warn("this host's mark is not kept", "error", err)
			if err := pause(ctx, recheckPause); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// claim waits until the key is free, or ours.
func (p *Peers) claim(ctx context.Context, store kv.Shared) error {
	for {
		other, there, err := p.look(ctx, store)
		if err == nil && (!there || !p.isAnother(other)) {
			p.update(func(o *ownMark) { o.usurped = nil })
			return nil
		}
		if err == nil {
			p.usurped(other)
		} else if !errors.Is(err, kv.ErrAway) && ctx.Err() == nil {
			p.log.Warn("this host's mark can't be looked at", "error", err)
		}
		away, changed := store.State()
		if away == nil {
			changed = nil
		}
		t := time.NewTimer(recheckPause)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// look reads this host's key. A mark that can't be read counts as none: it is
// to be replaced.
func (p *Peers) look(ctx context.Context, store kv.Shared) (h Host, there bool, err error) {
	err = store.Load(ctx, p.key(), func(key string, value []byte) error {
		if key != p.key() {
			return nil
		}
		var err error
		if h, err = decodeHost(p.self.ID, value); err != nil {
			p.log.Warn("this host's old mark is replaced", "error", err)
			return nil
		}
		there = true
		return nil
	})
	if err != nil {
		return h, false, fmt.Errorf("look for this host's mark: %w", err)
	}
	return h, there, nil
}

// isAnother is whether a mark under our id is another machine's, and not what
// an earlier process of this machine left.
func (p *Peers) isAnother(h Host) bool {
	self := p.Self()
	return h.Run != self.Run && h.Boot != self.Boot && h.Name != self.Name && (h.VTEP != self.VTEP || !h.VTEP.IsValid())
}

// usurped says that another machine has this host's key.
func (p *Peers) usurped(h Host) {
	self := p.Self()
	at := func(h Host) string {
		if !h.VTEP.IsValid() {
			return h.Name
		}
		return h.Name + " at " + h.VTEP.String()
	}
	err := fmt.Errorf("%w: %s and %s are both host %s, as when a machine was cloned with /var/lib/dockstack: "+
		"on the copy, disable the plugin, remove /var/lib/dockstack/dockstack.db and enable it again", ErrDuplicate, at(self), at(h), short(self.ID))
	p.update(func(o *ownMark) { o.usurped = err })
}

// hold keeps the mark until it has to be written anew, or ctx ends.
func (p *Peers) hold(ctx context.Context, store kv.Shared) error {
	drain(p.rewrite)
	lost := make(chan struct{}, 1)
	mark, err := p.newMark(lost)
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = store.Hold(inner, mark)
	}()
	p.keep(ctx, store, lost, done)
	over := false // by itself
	select {
	case <-done:
		over = true
	default:
	}
	cancel()
	<-done
	p.update(func(o *ownMark) { o.held = false })
	if !over {
		return nil
	}
	return err
}

// newMark makes the mark as it is now.
func (p *Peers) newMark(lost chan<- struct{}) (kv.Mark, error) {
	p.mu.Lock()
	h := p.self
	h.Clock = p.now().UTC().Truncate(time.Millisecond)
	p.mu.Unlock()
	value, err := h.encode()
	if err != nil {
		return kv.Mark{}, err
	}
	p.update(func(o *ownMark) { o.value, o.held = value, false })
	return kv.Mark{
		Key: p.key(), Value: value, TTL: TTL, After: After,
		Held: func(held bool) {
			p.update(func(o *ownMark) { o.held = held })
			if held {
				nudge(p.recheck) // another machine may have written it meanwhile
			} else {
				nudge(lost)
			}
		},
	}, nil
}

// keep returns when the mark has to be written anew, or Hold is over.
func (p *Peers) keep(ctx context.Context, store kv.Shared, lost, done <-chan struct{}) {
	// Hosts that started together should not all write together.
	anew := time.NewTimer(RewriteEvery - rand.N(RewriteEvery/5)) //nolint:gosec // any number does
	defer anew.Stop()
	again := time.NewTimer(RewriteEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			return
		case <-lost:
			// Not left to Hold, which would write it with the clock of then, and
			// without looking whether another machine has it by now.
			return
		case <-anew.C:
			return
		case <-p.rewrite:
			return
		case <-p.recheck:
		case <-again.C:
		}
		whose, err := p.whose(ctx, store)
		switch {
		case err != nil || whose == another:
			again.Reset(recheckPause)
		case whose == nobodys:
			return
		}
	}
}

// owner is whose a mark under our id is.
type owner int

const (
	nobodys owner = iota
	ours
	another
)

// whose looks whose the key is while Hold is to keep it.
func (p *Peers) whose(ctx context.Context, store kv.Shared) (owner, error) {
	p.mu.Lock()
	written := p.own.held // before the look: else it may be of before the writing
	p.mu.Unlock()
	h, there, err := p.look(ctx, store)
	switch {
	case err != nil:
		return ours, err
	case !written:
		return ours, nil // Hold is about to write it, and says when it has
	case there && h.Run != p.Self().Run:
		p.usurped(h)
		return another, nil
	}
	p.update(func(o *ownMark) { o.usurped = nil })
	if !there {
		return nobodys, nil
	}
	return ours, nil
}

func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}
