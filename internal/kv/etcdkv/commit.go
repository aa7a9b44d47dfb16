package etcdkv

import (
	"context"
	"errors"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/ahead"
)

const (
	// pageBytes is about what one answer holds. etcd walks its index from the
	// page's first key to the last of all for every page, so that many small ones
	// cost the square of the keys: 200,000 keys in pages of 1,000 took 7 s, in
	// pages of this size 1.4 s.
	pageBytes = 4 << 20
	firstPage = 1000
	leastPage = 16
	mostPage  = 50_000
	// pageTime is more than requestTime, since nobody waits for a page alone.
	pageTime = 5 * time.Second
)

// Commit implements kv.Store, with one request.
func (s *Store) Commit(ctx context.Context, ops []kv.Op, conds ...kv.Cond) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if err := errors.Join(kv.CheckOps(ops, conds...), kv.CheckSize(maxOps, ops, conds)); err != nil {
		return err
	}
	if len(ops) == 0 && len(conds) == 0 {
		return nil
	}
	var told []ahead.Event
	flight := s.book.Begin(ops, conds)
	defer func() { flight.End(told...) }()
	final := ahead.Told(0, ops)
	var conflict error
	err := s.request(ctx, func(ctx context.Context, sess *session) error {
		resp, err := sess.client.Txn(ctx).If(s.compares(conds)...).Then(s.writes(final)...).Else(s.reads(conds)...).Commit()
		if err != nil {
			return err
		}
		s.saw(sess, resp.Header.Revision)
		if !resp.Succeeded {
			told = s.present(conds, resp)
			conflict = conflictOf(told)
			return nil
		}
		for i := range final {
			final[i].Rev = resp.Header.Revision
		}
		told = final
		return nil
	})
	if err != nil {
		return err
	}
	return conflict
}

func (s *Store) compares(conds []kv.Cond) []clientv3.Cmp {
	out := make([]clientv3.Cmp, 0, len(conds))
	for _, c := range conds {
		key := s.prefix + c.Key
		if c.Absent {
			out = append(out, clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
		} else {
			out = append(out, clientv3.Compare(clientv3.Value(key), "=", string(c.Value)))
		}
	}
	return out
}

// writes are the ops of what a commit leaves: etcd takes a key once.
func (s *Store) writes(final []ahead.Event) []clientv3.Op {
	out := make([]clientv3.Op, 0, len(final))
	for _, e := range final {
		key := s.prefix + e.Op.Key
		if e.Op.Delete {
			out = append(out, clientv3.OpDelete(key))
		} else {
			out = append(out, clientv3.OpPut(key, string(e.Op.Value)))
		}
	}
	return out
}

func (s *Store) reads(conds []kv.Cond) []clientv3.Op {
	out := make([]clientv3.Op, 0, len(conds))
	for _, key := range named(conds) {
		out = append(out, clientv3.OpGet(s.prefix+key))
	}
	return out
}

// named are the conditions' keys, each once.
func named(conds []kv.Cond) []string {
	var out []string
	again := make(map[string]struct{}, len(conds))
	for _, c := range conds {
		if _, ok := again[c.Key]; !ok {
			again[c.Key] = struct{}{}
			out = append(out, c.Key)
		}
	}
	return out
}

// present is what a failed commit tells of the keys that it named.
func (s *Store) present(conds []kv.Cond, resp *clientv3.TxnResponse) []ahead.Event {
	var out []ahead.Event
	for i, key := range named(conds) {
		// Of a key that is not there, etcd does not say since when.
		e := ahead.Event{Rev: resp.Header.Revision, Op: kv.Op{Key: key, Delete: true}}
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			e = ahead.Event{Rev: kvs[0].ModRevision, Op: kv.Op{Key: key, Value: kvs[0].Value}}
		}
		out = append(out, e)
	}
	return out
}

func conflictOf(told []ahead.Event) error {
	out := &kv.Conflict{}
	for _, e := range told {
		op := e.Op
		op.Value = append([]byte(nil), op.Value...)
		out.Now = append(out.Now, op)
	}
	return out
}

// Load implements kv.Store.
func (s *Store) Load(ctx context.Context, prefix string, fn func(key string, value []byte) error) error {
	var ended error
	_, err := s.pages(ctx, prefix, func(key string, value []byte) bool {
		ended = fn(key, value)
		return ended == nil
	})
	if ended != nil {
		return ended
	}
	return err
}

// pages calls fn for all below prefix, until it returns false, and returns the
// revision of the picture.
func (s *Store) pages(ctx context.Context, prefix string, fn func(key string, value []byte) bool) (int64, error) {
	from, end := s.prefix+prefix, clientv3.GetPrefixRangeEnd(s.prefix+prefix)
	var rev int64
	size := int64(firstPage)
	for more := true; more; {
		err := s.requestWithin(ctx, pageTime, func(ctx context.Context, sess *session) error {
			resp, err := sess.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(size), clientv3.WithRev(rev))
			if err != nil {
				return err
			}
			if rev == 0 {
				rev = resp.Header.Revision
				s.saw(sess, rev)
			}
			more = resp.More && len(resp.Kvs) > 0
			bytes := 1
			for _, p := range resp.Kvs {
				bytes += len(p.Key) + len(p.Value)
				if !fn(strings.TrimPrefix(string(p.Key), s.prefix), p.Value) {
					more = false
					return nil
				}
			}
			if more {
				size = max(leastPage, min(pageBytes*int64(len(resp.Kvs))/int64(bytes), mostPage))
				from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return rev, nil
}
