package heal

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/engine"
)

// patient is an owner's history.
type patient struct {
	// busy: somebody looks at it. The healer's mutex guards it, sign and told; all
	// else belongs to who set it.
	busy bool
	// sign is the group's at the last look, told what came of that.
	sign string
	told []Case
	// at is when to look again although nothing changes, zero for not.
	at time.Time
	// retry is the last pause after a look that failed.
	retry time.Duration

	// started is the owner's last start that was seen.
	started time.Time
	// gap is the last pause between treatments, until when there is none.
	gap   time.Duration
	until time.Time
	// healed has each member that was treated, with its owner's start.
	healed map[string]time.Time
	// well has the starts of members and of their owner as they were together.
	well map[string]pair
	// owed are members that we stopped and could not start again.
	owed map[string]struct{}
}

// pair is when a member and its owner started.
type pair struct{ member, owner time.Time }

// verdict is what a member needs.
type verdict int

const (
	fine    verdict = iota
	later           // it is in between
	dead            // it runs in a namespace that ended
	unstart         // it could not start without its owner
)

// see takes the owner's present run. A run that was long enough ends all
// restraint.
func (p *patient) see(owner engine.Life) {
	if owner.Started.Equal(p.started) {
		return
	}
	if !p.started.IsZero() && owner.Finished.Sub(p.started) >= steady {
		p.gap, p.until = 0, time.Time{}
	}
	p.started = owner.Started
}

// judge tells what a member needs while its owner is up.
func (p *patient) judge(id string, owner, member engine.Life) verdict {
	switch {
	case member.Paused || member.Restarting:
		return later
	case member.Running:
		// The clock may have been set: what was together and is so no more is
		// dead, whatever the times.
		was, known := p.well[id]
		apart := known && was.member.Equal(member.Started) && !was.owner.Equal(owner.Started)
		if (member.Started.Before(owner.Started) || apart) && !p.healed[id].Equal(owner.Started) {
			return dead
		}
		return fine
	default:
		if _, ours := p.owed[id]; ours || wantedOwner(member.Error) {
			return unstart
		}
		return fine // it ended, or a person stopped it
	}
}

// wantedOwner tells whether a start failed because the owner did not run. The
// engine keeps no more of an error than its text (moby, daemon:
// getNetworkedContainer; runc, where the owner ends in between).
func wantedOwner(text string) bool {
	for _, part := range []string{"network namespace of a non running container", "network namespace of container: ", "/ns/net"} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// treat looks at a group, heals who needs it, and returns who was left.
func (h *Healer) treat(ctx context.Context, g group, p *patient) []Case {
	h.look <- struct{}{}
	owner, members, err := h.inspect(ctx, g)
	<-h.look
	if err != nil {
		// It may be starting, or gone.
		p.retry = min(max(2*p.retry, firstRetry), lastRetry)
		p.at = h.now().Add(p.retry)
		h.cfg.Log.Debug("a group of containers is not looked at yet", "owner", g.owner.Name, "error", err)
		return p.told
	}
	p.retry, p.at = 0, time.Time{}
	p.see(owner)
	if !owner.Up() {
		return nil // its start changes the group's sign
	}
	now := h.now()
	if age := now.Sub(owner.Started); age >= 0 && age < settle {
		p.at = now.Add(settle - age)
		return p.told
	}
	needs, told := p.sort(h, g, owner, members)
	if len(needs) == 0 {
		return told
	}
	if now.Before(p.until) {
		p.at = p.until
		return append(told, failures(p.told)...)
	}
	p.gap = min(max(2*p.gap, firstGap), lastGap)
	p.until = now.Add(p.gap)
	failed := h.heal(ctx, g, p, needs)
	p.at = h.now() // to see what came of it
	if len(failed) > 0 {
		p.at = p.until
	}
	return append(told, failed...)
}

// forget drops what is known of members that are there no more.
func (p *patient) forget(g group) {
	gone := func(id string) bool {
		return !slices.ContainsFunc(g.members, func(m engine.Container) bool { return m.ID == id })
	}
	maps.DeleteFunc(p.healed, func(id string, _ time.Time) bool { return gone(id) })
	maps.DeleteFunc(p.well, func(id string, _ pair) bool { return gone(id) })
	maps.DeleteFunc(p.owed, func(id string, _ struct{}) bool { return gone(id) })
}

func failures(cases []Case) []Case {
	var out []Case
	for _, c := range cases {
		if c.Kind == Failed {
			out = append(out, c)
		}
	}
	return out
}

func (h *Healer) inspect(ctx context.Context, g group) (owner engine.Life, members []engine.Life, err error) {
	if owner, err = h.cfg.Engine.Inspect(ctx, g.owner.ID); err != nil {
		return owner, nil, err
	}
	for _, m := range g.members {
		life, err := h.cfg.Engine.Inspect(ctx, m.ID)
		if err != nil {
			return owner, nil, err
		}
		members = append(members, life)
	}
	return owner, members, nil
}

// sort finds who is to be healed, and who is left alone.
func (p *patient) sort(h *Healer, g group, owner engine.Life, members []engine.Life) (needs []engine.Container, left []Case) {
	p.forget(g)
	for i, m := range g.members {
		life := members[i]
		v := p.judge(m.ID, owner, life)
		c := Case{Member: m.Name, Owner: g.owner.Name, Down: v == unstart}
		_, owed := p.owed[m.ID]
		wish := g.wish(m)
		switch {
		case v == fine:
			if life.Running {
				p.well[m.ID] = pair{life.Started, owner.Started}
				delete(p.owed, m.ID)
			}
		case v == later && life.Paused:
			p.at = h.now().Add(steady)
		case v == later:
			p.at = h.now().Add(firstGap)
		case owed:
			needs = append(needs, m)
		case v == unstart && !life.Kept && wish != "on":
			// A person tried to start it, and saw the error.
		case wish == "off":
			c.Kind = Declined
		case !life.Kept && wish != "on":
			c.Kind = Unkept
		case h.cfg.Off:
			c.Kind = Off
		default:
			needs = append(needs, m)
		}
		if c.Kind != "" {
			left = append(left, c)
		}
	}
	return needs, left
}

// heal treats members, some at once, and returns those that it could not.
func (h *Healer) heal(ctx context.Context, g group, p *patient, needs []engine.Container) []Case {
	var mu sync.Mutex // guards p and failed
	var failed []Case
	var wg sync.WaitGroup
	for _, m := range needs {
		wg.Go(func() {
			select {
			case h.act <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-h.act }()
			c, err := h.one(ctx, g, p, m, &mu)
			if c.Kind == "" || ctx.Err() != nil {
				return
			}
			h.cfg.Done(c, err)
			if err != nil {
				c.Kind, c.Error = Failed, err.Error()
				mu.Lock()
				failed = append(failed, c)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed
}

// one treats one member, unless it needs that no more. mu guards p.
func (h *Healer) one(ctx context.Context, g group, p *patient, m engine.Container, mu *sync.Mutex) (Case, error) {
	c := Case{Member: m.Name, Owner: g.owner.Name}
	owner, err := h.cfg.Engine.Inspect(ctx, g.owner.ID)
	if err != nil || !owner.Up() {
		return c, nil // its next start is another occasion
	}
	life, err := h.cfg.Engine.Inspect(ctx, m.ID)
	if err != nil {
		return c, nil // it is gone, or busy
	}
	mu.Lock()
	v := p.judge(m.ID, owner, life)
	mu.Unlock()
	switch v {
	case dead:
		c.Kind = Restarted
		err = h.cfg.Engine.Restart(ctx, m.ID, life.Grace)
	case unstart:
		c.Kind, c.Down = Started, true
		err = h.cfg.Engine.Start(ctx, m.ID)
	default:
		return c, nil
	}
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		// A restart that failed may have stopped it already.
		p.owed[m.ID] = struct{}{}
		return c, err
	}
	delete(p.owed, m.ID)
	p.healed[m.ID] = owner.Started
	return c, nil
}
