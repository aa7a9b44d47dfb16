package heal

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dockstack/dockstack/internal/engine"
)

// A container whose start fails in its network is started again by no restart
// policy. Where that was for want of an answer of ours, the user's `restart:
// always` is owed all the same.
//
// When it fails at our Join, for whatever reason, the engine takes the network out of
// the container's settings too, and the next start would succeed without it. So the
// network is connected again, also to a container that is not to be started. The
// engine lists which networks a container is on, even while it starts: the one that
// is missing after that is known, unless dockstack was away all the time. Then it may
// be the one that the container was made on. What a person takes from a container is
// taken outside of the minute after an occasion, and not given back.
//
// The engine has no event for it, and keeps the text of the error alone, until
// the next start that succeeds: what ran, and was stopped by a person, bears none.
// So the containers that are down are looked at, one by one, but only for a minute
// after each occasion: when this process begins to serve, since the one before may
// have been cut off, and when it had to refuse a call because of that.

const (
	// The looks after an occasion come after the first pause, which doubles up to
	// the last: in all the 15 s for which the engine repeats a call, and as long
	// for what it does at the end of a start that failed. Before the first the
	// plugin has lived long enough for the engine not to give it up if it dies of
	// what it is asked again.
	firstLook = 2 * time.Second
	lastLook  = 32 * time.Second
)

// absent are the containers whose start failed because dockstack did not answer.
// The healer's mutex guards it.
type absent struct {
	// down are those of the last picture that don't run and share nobody's network;
	// pictured is whether there was one.
	down     []engine.Container
	pictured bool
	// names are the networks' names, and was is what each container was on in the
	// last picture, all by ids. taken is what one that is down has lost after an
	// occasion; given are those that got all back since.
	names map[string]string
	was   map[string][]string
	taken map[string][]string
	given map[string]bool
	// busy: somebody looks.
	busy bool
	// at is when to look next, zero for not.
	at time.Time
	// pause is before the next look at all that are down, zero when there is none
	// to come.
	pause time.Duration
	// known are those that are still so, by their ids.
	known map[string]*failure
}

// failure is a start that failed.
type failure struct {
	told Case
	// gap is the last pause between attempts, until when there is none.
	gap   time.Duration
	until time.Time
}

// Missed tells it that starts may have failed, because dockstack did not answer
// the engine.
func (h *Healer) Missed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.missed()
}

// missed is Missed while mu is held.
func (h *Healer) missed() {
	a := &h.absent
	a.pause = firstLook
	if at := h.now().Add(firstLook); a.at.IsZero() || at.Before(a.at) {
		a.at = at
	}
	h.nudge()
}

// Losing is to be called before the engine is told that a Join failed. It looks at
// what every container is on as long as it is; for two seconds at most.
func (h *Healer) Losing(ctx context.Context) {
	p, err := h.cfg.Engine.List(ctx)
	if err != nil {
		h.cfg.Log.Debug("what containers are on is not known before a Join fails", "error", err)
	} else {
		h.mu.Lock()
		h.absent.observe(p)
		h.mu.Unlock()
	}
	h.Missed()
}

// observe takes what the engine lists now.
func (a *absent) observe(p engine.Picture) {
	before := *a
	a.down, a.pictured = nil, true
	a.names, a.was, a.taken, a.given = p.Networks, map[string][]string{}, map[string][]string{}, map[string]bool{}
	there := map[string]bool{}
	for _, c := range p.Containers {
		a.was[c.ID] = c.Networks
		if !c.Running && c.Shares == "" {
			a.down = append(a.down, c)
			there[c.ID] = true
			a.compare(&before, c)
		}
	}
	for id := range a.known {
		if !there[id] {
			delete(a.known, id)
		}
	}
}

// compare notes what a container that is down has lost since the last picture, after
// an occasion or while it is being started, and what it had lost before.
func (a *absent) compare(before *absent, c engine.Container) {
	off := func(n string) bool { return a.names[n] != "" && !slices.Contains(c.Networks, n) }
	var lost []string
	if a.pause > 0 || a.busy {
		lost = only(before.was[c.ID], off)
	}
	if lost == nil && before.given[c.ID] {
		a.given[c.ID] = true
	}
	for _, n := range only(before.taken[c.ID], off) {
		if !slices.Contains(lost, n) {
			lost = append(lost, n)
		}
	}
	if lost != nil {
		a.taken[c.ID] = lost
	}
}

func (a *absent) cases() []Case {
	var out []Case
	for _, f := range a.known {
		if f.told.Kind != "" {
			out = append(out, f.told)
		}
	}
	return out
}

// seek has containers that are down looked at, if it is time for that, and returns
// how long until it is. Besides occasions those alone are looked at that are known.
func (h *Healer) seek(look func(down []engine.Container, all bool)) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, now := &h.absent, h.now()
	switch {
	case a.busy || a.at.IsZero() || !a.pictured:
		return time.Minute
	case a.at.After(now):
		return a.at.Sub(now)
	}
	all := a.pause > 0
	var down []engine.Container
	for _, c := range a.down {
		if _, known := a.known[c.ID]; known || all && h.onOurs(c) {
			down = append(down, c)
		}
	}
	a.busy, a.at, a.pause = true, time.Time{}, 2*a.pause
	if a.pause > lastLook {
		a.pause = 0
	}
	look(down, all)
	return time.Minute
}

func (h *Healer) onOurs(c engine.Container) bool {
	return slices.ContainsFunc(slices.Concat(c.Networks, h.absent.taken[c.ID], []string{c.Home}), h.cfg.Ours)
}

// missing are the networks that a container would start without, as far as is known;
// the healer's mutex is held.
func (h *Healer) missing(c engine.Container, life engine.Life) []string {
	a := &h.absent
	off := func(n string) bool {
		return a.names[n] != "" && !slices.Contains(life.Networks, n) && !slices.Contains(life.Networks, a.names[n])
	}
	out := only(slices.Concat(a.taken[c.ID], c.Networks), off)
	slices.Sort(out)
	out = slices.Compact(out)
	if out == nil && !a.given[c.ID] && h.cfg.Ours(c.Home) && off(c.Home) {
		out = []string{c.Home}
	}
	return out
}

// only are those elements that are so.
func only(all []string, is func(string) bool) []string {
	var out []string
	for _, s := range all {
		if is(s) {
			out = append(out, s)
		}
	}
	return out
}

// revive looks at containers that are down, and starts those whose start failed
// because dockstack did not answer.
func (h *Healer) revive(ctx context.Context, down []engine.Container, all bool) {
	var wg sync.WaitGroup
	var unsure atomic.Bool
	for _, c := range down {
		select {
		case h.act <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-h.act }()
			if !h.reviveOne(ctx, c) {
				unsure.Store(true)
			}
		})
	}
	wg.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	a, now := &h.absent, h.now()
	a.busy = false
	sooner := func(at time.Time) {
		if a.at.IsZero() || at.Before(a.at) {
			a.at = at
		}
	}
	if all && a.pause == 0 && unsure.Load() {
		a.pause = lastLook
	}
	if a.pause > 0 {
		sooner(now.Add(a.pause))
	}
	for _, f := range a.known {
		if f.until.IsZero() {
			sooner(now.Add(lastRetry)) // it may be as its user wants it no more
			continue
		}
		sooner(f.until)
	}
	h.nudge()
}

// reviveOne tells whether it learned how the container is.
func (h *Healer) reviveOne(ctx context.Context, c engine.Container) bool {
	life, err := h.cfg.Engine.Inspect(ctx, c.ID)
	if err != nil {
		return false // it is being started, or gone
	}
	f, tell, missing := h.failed(c, life)
	if f == nil || tell.Kind != Started && tell.Kind != Connected {
		return true
	}
	for _, network := range missing {
		if err == nil {
			err = h.cfg.Engine.Connect(ctx, c.ID, network, aliases(c))
		}
	}
	given := err == nil
	if given && missing != nil {
		h.give(c.ID)
	}
	if given && tell.Kind == Started {
		err = h.cfg.Engine.Start(ctx, c.ID)
	}
	if ctx.Err() != nil {
		return true
	}
	h.cfg.Done(tell, err)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		delete(h.absent.known, c.ID)
		return true
	}
	f.told = tell
	f.told.Kind, f.told.Error = Failed, err.Error()
	switch {
	case AtJoin(err.Error()):
		if missing != nil { // taken again, maybe before any picture had it
			h.absent.taken[c.ID] = missing
			delete(h.absent.given, c.ID)
		}
		h.missed()
	case given:
		f.told.Network = ""
	}
	return true
}

// give notes that a container has all its networks back.
func (h *Healer) give(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.absent.given[id] = true
	delete(h.absent.taken, id)
}

// aliases are what compose calls a container on its networks. Those that its user
// gave it besides went with the network, and nobody has them.
func aliases(c engine.Container) []string {
	if c.Service == "" {
		return nil
	}
	return []string{c.Service}
}

// failed tells whether a container's last start failed for want of an answer, or at
// Join, and what is to be done: Started if it is to be started now, Connected if it
// is to be connected to networks alone, else why neither; and which networks are
// missing.
func (h *Healer) failed(c engine.Container, life engine.Life) (*failure, Case, []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, wish := &h.absent, wishOf(c)
	tell := Case{Member: c.Name, Down: true}
	if Unanswered(life.Error) && (life.Kept || wish == "on") { // without a restart policy a person saw the error
		tell.Kind = Started
	}
	var missing []string
	if AtJoin(life.Error) {
		missing = h.missing(c, life)
		switch ours := slices.ContainsFunc(missing, h.cfg.Ours); {
		case missing != nil && !ours:
			tell.Kind = "" // it was another driver's
		case missing != nil && tell.Kind == "":
			tell.Kind = Connected
		case missing == nil && tell.Kind == Started && !a.given[c.ID]:
			tell.Kind = Lost
		}
	}
	if life.Running || life.Restarting || tell.Kind == "" {
		delete(a.known, c.ID)
		return nil, Case{}, nil
	}
	f := a.known[c.ID]
	if f == nil {
		f = &failure{}
		a.known[c.ID] = f
	}
	var names []string
	for _, n := range missing {
		names = append(names, a.names[n])
	}
	tell.Network = strings.Join(names, " ")
	switch now := h.now(); {
	case tell.Kind == Lost:
	case wish == "off":
		tell.Kind = Declined
	case h.cfg.Off:
		tell.Kind = Off
	case now.Before(f.until):
		return f, f.told, nil
	default:
		f.gap = min(max(2*f.gap, firstGap), lastGap)
		f.until = now.Add(f.gap)
		return f, tell, missing
	}
	f.told = tell
	return f, tell, nil
}

// networking begins the errors of what a start does in the network.
const networking = "failed to set up container networking: "

// unanswered are the texts of calls that got no answer: of net/http, of a
// connection that was refused, ended, or took too long; of the engine, where no
// plugin was there to be called (moby, daemon/pkg/plugin, daemon/libnetwork); and
// of our own, for a call that was cut off.
var unanswered = regexp.MustCompile(strings.Join([]string{
	`Post "[^"]*/(IpamDriver|NetworkDriver|Plugin)\.\w+": `,
	`plugin "?[^ "]+"? (not found|found but disabled)`,
	`could not resolve driver \S+ in registry`,
	`invalid ipam driver: `,
	`remote: dockstack: the engine repeated a call without its content`,
}, "|"))

// Unanswered tells whether a start failed because dockstack did not answer, by what
// the engine keeps of the error. What dockstack refused has a reason, and is not
// that; neither is what a person broke off.
func Unanswered(text string) bool {
	_, why, found := strings.Cut(text, networking)
	return found && unanswered.MatchString(why) && !strings.HasSuffix(why, "context canceled")
}

// joining are the texts of a Join that failed, answered or not: of net/http, of the
// engine, where the driver was gone by then (moby, daemon/libnetwork/endpoint.go),
// and of our own.
var joining = regexp.MustCompile(`Post "[^"]*/NetworkDriver\.Join": |during join|the engine takes the network from a container whose Join fails`)

// AtJoin tells whether a start failed at Join, by what the engine keeps of the error.
func AtJoin(text string) bool {
	_, why, found := strings.Cut(text, networking)
	return found && joining.MatchString(why)
}
