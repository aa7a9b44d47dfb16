package ovs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
)

// Marks on what is ours in the switch's database.
const (
	ownerKey  = "owner"
	ownerName = "dockstack"
)

// Reconnects come quickly: what is wanted must be back within 2 s of the switch.
const (
	redialMin = 10 * time.Millisecond
	redialMax = 250 * time.Millisecond
	// hostEvery is how often we look whether the host's switch has started.
	hostEvery = 2 * time.Second
)

// Switch is one Open vSwitch with our bridge on it. Run keeps it connected.
type Switch struct {
	cfg   Config
	probe Probe
	log   *slog.Logger

	mu sync.Mutex // guards below
	// state, and the channel that is closed when it changes.
	state   fabric.SwitchState
	changed chan struct{}
	// session is the connection, nil when there is none.
	session *session
	// own is our own switch, nil with the host's.
	own *own
	// bundles holds back a second bundle while one is on its way.
	bundles sync.Mutex
}

var _ fabric.Switch = (*Switch)(nil)

// New makes a switch. Nothing happens before Run.
func New(cfg Config, probe Probe, log *slog.Logger) *Switch {
	return &Switch{
		cfg: cfg.withDefaults(), probe: probe, log: log, changed: make(chan struct{}),
		state: fabric.SwitchState{Err: errors.New("the switch has not been looked for yet")},
	}
}

// State implements fabric.Switch.
func (s *Switch) State() (fabric.SwitchState, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.changed
}

// setState changes the state and tells who waits.
func (s *Switch) setState(change func(*fabric.SwitchState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Run chooses a switch and stays connected to it until ctx ends. It returns
// only then: what is missing is reported by State and tried again.
func (s *Switch) Run(ctx context.Context) error {
	for {
		err := s.runChosen(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end that was asked for
		case errors.Is(err, errHostAppeared):
			s.log.WarnContext(ctx, "changing over to the host's Open vSwitch, which has started beside ours")
			continue
		}
		s.down(err)
		wait(ctx, time.Second)
	}
}

// runChosen uses one switch until ctx ends or another must be chosen.
func (s *Switch) runChosen(ctx context.Context) error {
	c, err := s.choose(ctx)
	if err != nil {
		return err
	}
	s.log.InfoContext(ctx, "switch chosen", "origin", c.origin, "datapath", c.datapath)
	if c.origin == OriginHost {
		s.setState(func(st *fabric.SwitchState) { st.Origin, st.Datapath = c.origin, c.datapath })
		return s.connect(ctx, target{choice: c, socket: s.cfg.HostSocket})
	}
	o := newOwn(s.cfg, c.datapath, s.log)
	s.mu.Lock()
	s.own = o
	s.mu.Unlock()
	s.setState(func(st *fabric.SwitchState) {
		st.Origin, st.Datapath, st.Offloads = c.origin, c.datapath, offloads(c.datapath, true)
	})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel(nil)
	helpers.Go(func() {
		if err := o.run(ctx); err != nil {
			cancel(err)
		}
	})
	if s.cfg.Origin == OriginAuto {
		helpers.Go(func() { s.watchHost(ctx, cancel) })
	}
	err = s.connect(ctx, target{choice: c, socket: s.cfg.ownSocket(), own: o})
	cancel(nil)
	helpers.Wait()
	s.mu.Lock()
	s.own = nil
	s.mu.Unlock()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// watchHost notices that the host's Open vSwitch has started beside ours. In
// userspace the two don't hurt each other, so ours stays if it works.
func (s *Switch) watchHost(ctx context.Context, cancel context.CancelCauseFunc) {
	for wait(ctx, hostEvery) {
		st, _ := s.State()
		if (st.Datapath == DatapathKernel || !st.Up) && answers(ctx, s.cfg.HostSocket) {
			cancel(errHostAppeared)
			return
		}
	}
}

// target is the switch to connect to.
type target struct {
	choice
	socket string
	own    *own
}

// connect keeps a session until ctx ends.
func (s *Switch) connect(ctx context.Context, t target) error {
	backoff := redialMin
	for {
		began := time.Now()
		err := s.serve(ctx, t)
		if ctx.Err() != nil {
			s.down(errStopped)
			return ctx.Err()
		}
		if t.own != nil {
			err = errors.Join(err, t.own.cause())
		}
		s.down(err)
		if time.Since(began) > time.Second {
			backoff = redialMin
		}
		if !wait(ctx, backoff) {
			continue
		}
		backoff = min(2*backoff, redialMax)
	}
}

// serve opens a session and returns when it ended.
func (s *Switch) serve(ctx context.Context, t target) error {
	ses, err := open(ctx, s.cfg, t, s.log)
	if err != nil {
		return err
	}
	defer ses.close()
	s.mu.Lock()
	s.session = ses
	s.mu.Unlock()
	if t.own != nil {
		t.own.up()
	}
	s.setState(func(st *fabric.SwitchState) {
		st.Up, st.Err = true, nil
		st.Generation++
		st.Version, st.Since = ses.version, time.Now()
		st.Offloads = offloads(t.datapath, ses.tso)
	})
	s.log.InfoContext(ctx, "connected to Open vSwitch", "origin", t.origin, "datapath", t.datapath, "version", ses.version)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-ses.flowConn.done:
		return fmt.Errorf("ovs-vswitchd has gone: %w", ses.flowConn.cause())
	case <-ses.db.done:
		return fmt.Errorf("ovsdb-server has gone: %w", ErrDown)
	}
}

// down notes that the switch is away.
func (s *Switch) down(err error) {
	s.mu.Lock()
	s.session = nil
	same := !s.state.Up && s.state.Err != nil && err != nil && s.state.Err.Error() == err.Error()
	s.mu.Unlock()
	if same {
		return
	}
	s.setState(func(st *fabric.SwitchState) { st.Up, st.Err = false, err })
}

// current is the session, or why there is none.
func (s *Switch) current() (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return nil, fmt.Errorf("Open vSwitch: %w: %w", ErrDown, s.state.Err) //nolint:staticcheck // a name
	}
	return s.session, nil
}

// wait waits for a while; false when ctx ended before.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
