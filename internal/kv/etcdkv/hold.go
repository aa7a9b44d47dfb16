package etcdkv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dockstack/dockstack/internal/kv"
)

// hold is one Hold.
type hold struct {
	s    *Store
	mark kv.Mark
	// lease carries the mark, 0 where it is to be granted.
	lease clientv3.LeaseID
	// until is when it ends, unless it is renewed; held, whether Held knows.
	until time.Time
	held  bool
}

// Hold implements kv.Shared.
func (s *Store) Hold(ctx context.Context, mark kv.Mark) error {
	if err := kv.CheckOps([]kv.Op{{Key: mark.Key, Value: mark.Value}}); err != nil {
		return err
	}
	h := &hold{s: s, mark: mark}
	for {
		sess, err := h.session(ctx)
		if err == nil {
			err = h.keep(ctx, sess)
		}
		if gone := s.usable(ctx); gone != nil {
			h.leave(ctx)
			return gone
		}
		if err != nil {
			s.complain(ctx, "the host's mark can't be written to etcd", err)
			s.pause(ctx, resumeAfter)
		}
	}
}

// session waits for one, and meanwhile tells when the mark ended.
func (h *hold) session(ctx context.Context) (*session, error) {
	if !h.held {
		return h.s.await(ctx, nil)
	}
	t := time.NewTimer(time.Until(h.until))
	defer t.Stop()
	sess, err := h.s.await(ctx, t.C)
	if sess == nil && err == nil {
		h.tell(false)
		return h.s.await(ctx, nil)
	}
	return sess, err
}

func (h *hold) tell(held bool) {
	h.held = held
	if h.mark.Held != nil {
		h.mark.Held(held)
	}
}

// keep writes the mark where it is not there, and renews it until the session
// or ctx ends.
func (h *hold) keep(ctx context.Context, sess *session) error {
	if err := h.write(ctx); err != nil {
		return err
	}
	kctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(sess.ctx, cancel)() //nolint:contextcheck // it ends with both
	renewed, err := sess.client.KeepAlive(clientv3.WithRequireLeader(kctx), h.lease)
	if err != nil {
		return h.s.failure(sess.e, err)
	}
	for {
		t := time.NewTimer(time.Until(h.until))
		select {
		case <-t.C:
			// The member is silent, which its session will notice too.
			if h.held {
				h.tell(false)
			}
			sess.doubt()
			return nil
		case resp, ok := <-renewed:
			t.Stop()
			if !ok {
				// The lease or the session ended. write finds out which.
				h.s.pause(kctx, resumeAfter)
				return nil
			}
			sess.fine()
			h.until = time.Now().Add(time.Duration(resp.TTL) * time.Second)
		}
	}
}

// write puts the mark where it is, or may be, missing.
func (h *hold) write(ctx context.Context) error {
	if h.lease == 0 || time.Now().After(h.until) {
		if err := h.grant(ctx, h.mark.TTL); err != nil {
			return err
		}
	}
	key := h.s.prefix + h.mark.Key
	written := false
	var lost error
	err := h.s.request(ctx, func(ctx context.Context, sess *session) error {
		resp, err := sess.client.Txn(ctx).
			If(clientv3.Compare(clientv3.Value(key), "=", string(h.mark.Value)), clientv3.Compare(clientv3.LeaseValue(key), "=", h.lease)).
			Else(clientv3.OpPut(key, string(h.mark.Value), clientv3.WithLease(h.lease))).Commit()
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			lost = err
			return nil
		}
		if err != nil {
			return err
		}
		h.s.saw(sess, resp.Header.Revision)
		written = !resp.Succeeded
		return nil
	})
	switch {
	case err != nil:
		return err
	case lost != nil:
		h.lease = 0
		if h.held {
			h.tell(false)
		}
		return fmt.Errorf("%w: the mark's lease ended", kv.ErrAway)
	case written || !h.held:
		h.tell(true)
	}
	return nil
}

func (h *hold) grant(ctx context.Context, ttl time.Duration) error {
	return h.s.request(ctx, func(ctx context.Context, sess *session) error {
		asked := time.Now()
		resp, err := sess.client.Grant(ctx, seconds(ttl))
		if err != nil {
			return err
		}
		h.lease, h.until = resp.ID, asked.Add(time.Duration(resp.TTL)*time.Second)
		return nil
	})
}

// seconds is what etcd counts in.
func seconds(d time.Duration) int64 { return max(1, int64((d+time.Second-1)/time.Second)) }

// leave lets the mark outlive us by After, or by what is left of its TTL where
// etcd does not answer or the store was closed.
func (h *hold) leave(ctx context.Context) {
	if h.lease == 0 || h.s.life.Err() != nil {
		return
	}
	ctx = context.WithoutCancel(ctx)
	old := h.lease
	key := h.s.prefix + h.mark.Key
	if h.mark.After > 0 {
		if err := h.grant(ctx, h.mark.After); err != nil {
			return
		}
		// Only where the mark is still ours: another process may hold it by now.
		if err := h.s.request(ctx, func(ctx context.Context, sess *session) error {
			_, err := sess.client.Txn(ctx).If(clientv3.Compare(clientv3.LeaseValue(key), "=", old)).
				Then(clientv3.OpPut(key, string(h.mark.Value), clientv3.WithLease(h.lease))).Commit()
			return err
		}); err != nil {
			return // the old lease is let be: without it the mark would be gone
		}
	}
	// Where this fails, the lease ends by itself.
	_ = h.s.request(ctx, func(ctx context.Context, sess *session) error {
		_, err := sess.client.Revoke(ctx, old)
		return err
	})
}
