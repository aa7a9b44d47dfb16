package etcdkv

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/ahead"
)

// resumeAfter is the pause before a stream that broke is taken up again on the
// same member.
const resumeAfter = 100 * time.Millisecond

// follow is one Follow.
type follow struct {
	s      *Store
	stream *ahead.Stream
	prefix string
	fn     func(kv.Change)
	// rev is what was delivered, 0 where all is to be delivered anew.
	rev     int64
	lineage int
}

// Follow implements kv.Shared.
func (s *Store) Follow(ctx context.Context, prefix string, fn func(kv.Change)) error {
	f := &follow{s: s, prefix: prefix, fn: fn, stream: s.book.Stream(prefix)}
	defer f.stream.Close()
	for {
		sess, err := s.await(ctx, nil)
		if err != nil {
			return err
		}
		if sess.lineage != f.lineage {
			f.rev, f.lineage = 0, sess.lineage
		}
		if f.rev == 0 {
			if err := f.whole(ctx); err != nil {
				s.complain(ctx, "etcd can't be read", err)
				s.pause(ctx, resumeAfter)
				continue
			}
		}
		if err := f.watch(ctx, sess); err != nil {
			s.complain(ctx, "etcd can't be followed", err)
			s.pause(ctx, resumeAfter)
		}
	}
}

// whole delivers everything.
func (f *follow) whole(ctx context.Context) error {
	var ops []kv.Op
	rev, err := f.s.pages(ctx, f.prefix, func(key string, value []byte) bool {
		ops = append(ops, kv.Op{Key: key, Value: value})
		return true
	})
	if err != nil {
		return err
	}
	f.stream.Whole(rev, ops, f.fn)
	f.rev = rev
	return nil
}

// watch delivers changes until the session or ctx ends, or something else is
// to be done.
func (f *follow) watch(ctx context.Context, sess *session) error {
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(sess.ctx, cancel)() //nolint:contextcheck // it ends with both
	ch := sess.client.Watch(clientv3.WithRequireLeader(wctx), f.s.prefix+f.prefix,
		clientv3.WithPrefix(), clientv3.WithRev(f.rev+1), clientv3.WithProgressNotify())
	for {
		select {
		case <-f.stream.Overtaken():
			f.rev = 0
			return nil
		case resp, ok := <-ch:
			if !ok || wctx.Err() != nil {
				return nil
			}
			if err := f.take(ctx, sess, resp); err != nil || f.rev == 0 {
				return err
			}
		}
	}
}

// take delivers what etcd sent: all events of some revisions, in order.
func (f *follow) take(ctx context.Context, sess *session, resp clientv3.WatchResponse) error {
	if resp.CompactRevision > f.rev {
		f.rev = 0
		return nil
	}
	if err := resp.Err(); err != nil {
		return f.s.failure(sess.e, err)
	}
	sess.fine()
	if resp.IsProgressNotify() {
		f.rev = max(f.rev, resp.Header.Revision)
		f.stream.Passed(f.rev)
		return nil
	}
	if len(resp.Events) == 0 {
		return nil
	}
	events := make([]ahead.Event, 0, len(resp.Events))
	for _, ev := range resp.Events {
		e := ahead.Event{Rev: ev.Kv.ModRevision, Op: kv.Op{Key: strings.TrimPrefix(string(ev.Kv.Key), f.s.prefix)}}
		if ev.Type == mvccpb.Event_DELETE {
			e.Op.Delete = true
		} else {
			e.Op.Value = ev.Kv.Value
		}
		events = append(events, e)
	}
	rev := events[len(events)-1].Rev
	f.s.saw(sess, rev)
	if err := f.stream.Events(ctx, rev, events, f.fn); err != nil {
		return nil //nolint:nilerr // ctx ended, which Follow sees
	}
	f.rev = rev
	return nil
}

// complain logs what no call returns, each thing once a minute. An etcd that is
// away is known from State.
func (s *Store) complain(ctx context.Context, msg string, err error) {
	away, _ := s.State()
	if away != nil || ctx.Err() != nil || errors.Is(err, kv.ErrClosed) {
		return
	}
	s.mu.Lock()
	last, again := s.complaints[msg+err.Error()]
	again = again && time.Since(last) < time.Minute
	if !again {
		if len(s.complaints) > 100 {
			clear(s.complaints)
		}
		s.complaints[msg+err.Error()] = time.Now()
	}
	s.mu.Unlock()
	if !again {
		s.log.WarnContext(ctx, msg, "error", err) //nolint:sloglint // callers' messages are literals
	}
}
