// Package etcdkv keeps a kv.Shared in an etcd, below a prefix.
//
// A Store talks to one member at a time: the first that answered when all were
// asked at once. Where a request or a probe finds it silent, all are asked
// again, and what went on over the old connection ends with it. So neither a
// member that hangs nor one that lost the others costs more than one request's
// time, which gRPC's own balancing, that spreads requests over members whose
// connections are up, can't promise.
//
// Idle, a host costs etcd a read every two seconds, its mark's renewal, and one
// watch.
package etcdkv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/ahead"
)

var _ kv.Shared = (*Store)(nil)

const (
	// maxOps leaves room below etcd's default of 128 for what we may add.
	maxOps = 100
	// requestTime bounds a request, so that nobody hangs on an etcd that is gone.
	requestTime = 2 * time.Second
	// probeEvery is how often a member that has nothing to do is asked.
	probeEvery = 2 * time.Second
	// retryEvery is the pause between rounds while no member answers.
	retryEvery = 200 * time.Millisecond
	// retryMost is the longest such pause, and probeMost what a round then has.
	retryMost = time.Second
	probeMost = 4 * time.Second
)

// errOtherCluster: a member is not of the cluster that we have begun with.
var errOtherCluster = errors.New("another cluster")

// Store is an open store.
type Store struct {
	prefix    string
	user      string
	log       *slog.Logger
	endpoints []*endpoint
	book      ahead.Book
	// life ends with Close.
	life context.Context
	end  context.CancelFunc
	// work is what Close waits for.
	work sync.WaitGroup

	// mu guards what follows.
	mu sync.Mutex
	// session is how members are reached now, nil while that is being found out.
	session *session
	// away is why no member can be reached, nil also before that is known.
	away error
	// told is what State last returned for away.
	told    error
	changed chan struct{}
	// moved is closed and replaced when session or away changes.
	moved chan struct{}
	// cluster and revision are what etcd was seen at: a lower revision is that
	// of an etcd that was put back from a backup, which begins a new lineage.
	cluster  uint64
	revision int64
	lineage  int
	closed   bool
	// complaints are when something was last logged.
	complaints map[string]time.Time
}

// Open returns at once: etcd is looked for in the background. Its errors are
// those of settings that can't work.
func Open(set Settings) (*Store, error) { return open(set) }

func open(set Settings, opts ...grpc.DialOption) (*Store, error) {
	l, err := set.login()
	if err != nil {
		return nil, fmt.Errorf("open the store %s: %w", set.Address, err)
	}
	s := &Store{
		prefix: set.Address.Prefix + "/", user: set.User, log: set.Log,
		changed: make(chan struct{}), moved: make(chan struct{}), complaints: map[string]time.Time{},
		told: fmt.Errorf("%w: etcd %s has not answered yet", kv.ErrAway, strings.Join(set.Address.Endpoints, ", ")),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, addr := range set.Address.Endpoints {
		s.endpoints = append(s.endpoints, &endpoint{addr: addr, login: l, opts: opts})
	}
	// Hosts that start at once should not all choose the first member.
	rand.Shuffle(len(s.endpoints), func(i, j int) { //nolint:gosec // no secret
		s.endpoints[i], s.endpoints[j] = s.endpoints[j], s.endpoints[i]
	})
	s.life, s.end = context.WithCancel(context.Background())
	s.work.Go(s.run)
	return s, nil
}

// MaxOps implements kv.Shared.
func (*Store) MaxOps() int { return maxOps }

// State implements kv.Shared.
func (s *Store) State() (away error, changed <-chan struct{}) { //nolint:staticcheck // a state, not an error of the call
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told, s.changed
}

// Close implements kv.Store. Marks that are held outlive it by their TTL.
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return kv.ErrClosed
	}
	s.end()
	s.work.Wait()
	for _, e := range s.endpoints {
		e.drop()
	}
	return nil
}

// usable fails where the store is closed or ctx ended.
func (s *Store) usable(ctx context.Context) error {
	if s.life.Err() != nil {
		return kv.ErrClosed
	}
	return ctx.Err()
}

// request has fn ask a member, within requestTime, and explains what failed.
func (s *Store) request(ctx context.Context, fn func(context.Context, *session) error) error {
	return s.requestWithin(ctx, requestTime, fn)
}

func (s *Store) requestWithin(ctx context.Context, limit time.Duration, fn func(context.Context, *session) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	sess, err := s.reach(limited)
	if err == nil {
		if err = fn(clientv3.WithRequireLeader(limited), sess); err == nil {
			sess.fine()
			return nil
		}
		if !refused(err) {
			sess.doubt()
		}
		err = s.failure(sess.e, err)
	}
	if gone := s.usable(ctx); gone != nil {
		return gone
	}
	return err
}

// reach returns the session, and waits while it is being looked for. Where no
// member can be reached it says so at once.
func (s *Store) reach(ctx context.Context) (*session, error) {
	for {
		s.mu.Lock()
		sess, away, moved := s.session, s.away, s.moved
		s.mu.Unlock()
		switch {
		case sess != nil:
			return sess, nil
		case away != nil:
			return nil, away
		}
		select {
		case <-moved:
		case <-s.life.Done():
			return nil, kv.ErrClosed
		case <-ctx.Done():
			told, _ := s.State()
			if told == nil {
				told = fmt.Errorf("%w: no member answers", kv.ErrAway)
			}
			return nil, told
		}
	}
}

// await returns the session, and waits for it however long that takes. Where
// until is set it waits no longer than that and returns none.
func (s *Store) await(ctx context.Context, until <-chan time.Time) (*session, error) {
	for {
		if err := s.usable(ctx); err != nil {
			return nil, err
		}
		s.mu.Lock()
		sess, moved := s.session, s.moved
		s.mu.Unlock()
		if sess != nil {
			return sess, nil
		}
		select {
		case <-moved:
		case <-until:
			return nil, nil //nolint:nilnil // see above
		case <-s.life.Done():
		case <-ctx.Done():
		}
	}
}

// pause waits, unless the store or ctx ends before.
func (s *Store) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-s.life.Done():
	}
}
