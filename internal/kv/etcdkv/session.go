package etcdkv

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
)

// session is the time during which one member is used.
type session struct {
	e       *endpoint
	client  *clientv3.Client
	lineage int
	// ctx ends with the session.
	ctx context.Context
	end context.CancelFunc
	// answered is when a request last succeeded, in Unix nanoseconds.
	answered atomic.Int64
	doubts   chan struct{}
}

// fine notes that the member answered.
func (s *session) fine() { s.answered.Store(time.Now().UnixNano()) }

// doubt has all members asked again.
func (s *session) doubt() {
	select {
	case s.doubts <- struct{}{}:
	default:
	}
}

// answer is what a member said to a probe.
type answer struct {
	e       *endpoint
	client  *clientv3.Client
	cluster uint64
	rev     int64
	// least is the revision that etcd was known to have before the probe.
	least int64
	err   error
}

// run finds a member, uses it until it fails, and so on.
func (s *Store) run() {
	for {
		found, ok := s.elect()
		if !ok {
			return
		}
		sess := s.begin(found)
		s.attend(sess)
		s.finish(sess)
	}
}

// jitter keeps hosts that lost etcd together from asking together.
func jitter(most time.Duration) time.Duration {
	return rand.N(most) //nolint:gosec // no secret
}

// elect asks all members until one answers.
func (s *Store) elect() (answer, bool) {
	// Each round in vain has more time and is followed by a longer pause. A
	// thousand hosts that ask three members five times a second, and give up
	// after one, keep an etcd down that is only slow.
	limit, rest := probeTime, retryEvery
	for s.life.Err() == nil {
		found, faults := s.round(limit)
		if faults == nil {
			return found, true
		}
		s.setAway(away(faults))
		s.pause(s.life, rest+jitter(rest/4))
		limit, rest = min(2*limit, probeMost), min(3*rest/2, retryMost)
	}
	return answer{}, false
}

// round asks all members at once. The first to answer is chosen; before we know
// which cluster it should be, all get a moment to say theirs.
func (s *Store) round(limit time.Duration) (answer, []fault) {
	ctx, cancel := context.WithTimeout(s.life, limit)
	defer cancel()
	answers := make(chan answer, len(s.endpoints))
	for _, e := range s.endpoints {
		s.work.Go(func() { answers <- s.probe(ctx, e) })
	}
	var found *answer
	var faults []fault
	var moment <-chan time.Time
	for range s.endpoints {
		var a answer
		select {
		case a = <-answers:
		case <-moment:
			return s.choose(*found), nil
		}
		switch {
		case a.err == nil && found == nil && s.pinned() == 0:
			found = &a
			t := time.NewTimer(probeTime / 4)
			defer t.Stop()
			moment = t.C
		case a.err == nil && found == nil:
			return s.choose(a), nil
		case a.err == nil && a.cluster != found.cluster:
			a.err = errOtherCluster
			return answer{}, []fault{s.fault(found.e, errOtherCluster), s.fault(a.e, errOtherCluster)}
		case a.err != nil:
			faults = append(faults, s.fault(a.e, a.err))
		}
	}
	if found != nil {
		return s.choose(*found), nil
	}
	return answer{}, faults
}

// choose closes the connections to the other members.
func (s *Store) choose(a answer) answer {
	for _, e := range s.endpoints {
		if e != a.e {
			s.work.Go(e.drop)
		}
	}
	return a
}

// probe asks a member for something that it can't know without the others.
func (s *Store) probe(ctx context.Context, e *endpoint) answer {
	a := answer{e: e}
	s.mu.Lock()
	a.least = s.revision
	s.mu.Unlock()
	if a.client, a.err = e.connect(s.life); a.err != nil { //nolint:contextcheck // the client outlives the probe
		return a
	}
	var resp *clientv3.GetResponse
	resp, a.err = a.client.Get(clientv3.WithRequireLeader(ctx), s.prefix)
	if a.err != nil {
		hungUp := (*hungUpError)(nil)
		if e.login.tls == nil && errors.As(e.noted(), &hungUp) && e.talksTLS(s.life) { //nolint:contextcheck // ctx may have ended
			e.note(errSecure)
		}
		if s.user != "" {
			// A member that was restarted may wait for ever (seen with 3.4) to hear
			// of the login that it gave before: the next probe logs in anew.
			e.drop()
		}
		return a
	}
	a.cluster, a.rev = resp.Header.ClusterId, resp.Header.Revision
	if pinned := s.pinned(); pinned != 0 && pinned != a.cluster {
		a.err = errOtherCluster
	}
	return a
}

func (s *Store) pinned() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cluster
}

// begin makes the session known.
func (s *Store) begin(a answer) *session {
	sess := &session{e: a.e, client: a.client, doubts: make(chan struct{}, 1)}
	sess.ctx, sess.end = context.WithCancel(s.life)
	sess.fine()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster = a.cluster
	if a.rev < a.least {
		// Put back from a backup: what we know of revisions is of no use.
		s.lineage++
		s.revision = a.rev
		s.book.Forget()
	}
	s.revision = max(s.revision, a.rev)
	sess.lineage = s.lineage
	s.session, s.away = sess, nil
	s.moveLocked()
	return sess
}

// finish takes the session back: who needs one waits for the next.
func (s *Store) finish(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = nil
	s.moveLocked()
	sess.end()
}

func (s *Store) setAway(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
	s.moveLocked()
}

func (s *Store) moveLocked() {
	close(s.moved)
	s.moved = make(chan struct{})
	told := s.away
	if s.session == nil && s.away == nil {
		told = s.told // as long as nothing else is known
	}
	if text(told) != text(s.told) {
		s.told = told
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// saw notes a revision that etcd has.
func (s *Store) saw(sess *session, rev int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess.lineage == s.lineage {
		s.revision = max(s.revision, rev)
	}
}

// attend returns when the session's member should be doubted.
func (s *Store) attend(sess *session) {
	s.work.Go(func() { sess.watchConnection() })
	t := time.NewTicker(probeEvery + jitter(probeEvery/4))
	defer t.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-sess.doubts:
			return
		case <-t.C:
		}
		if time.Since(time.Unix(0, sess.answered.Load())) < probeEvery {
			continue
		}
		ctx, cancel := context.WithTimeout(s.life, probeTime)
		a := s.probe(ctx, sess.e)
		cancel()
		if a.err != nil || a.rev < a.least {
			return
		}
		sess.fine()
		s.saw(sess, a.rev)
	}
}

// watchConnection doubts the member once its connection ends.
func (s *session) watchConnection() {
	conn := s.client.ActiveConnection()
	for conn.GetState() == connectivity.Ready {
		if !conn.WaitForStateChange(s.ctx, connectivity.Ready) {
			return
		}
	}
	s.doubt()
}
