package etcdkv_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/etcdkv"
	"github.com/dockstack/dockstack/internal/kv/etcdtest"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

// newName is the commit of a new name: its lease, its address, and what they
// were decided on.
func newName(i int) ([]kv.Op, []kv.Cond) {
	lease, addr := fmt.Sprint("lease/p/n", i), fmt.Sprint("addr/p/", i)
	return []kv.Op{put(lease, "address, MAC and host"), put(addr, "n")},
		[]kv.Cond{{Key: lease, Absent: true}, {Key: addr, Absent: true}, {Key: "pool/p", Value: []byte("pool")}}
}

// asked is what etcd was asked meanwhile, less the reads by which a store that
// has nothing to do sees that etcd is there.
func asked(tb testing.TB, c *etcdtest.Cluster, do func()) map[string]int {
	tb.Helper()
	before := c.Requests()
	do()
	out := c.Requests()
	for k, n := range before {
		if out[k] -= n; out[k] == 0 {
			delete(out, k)
		}
	}
	return out
}

func TestACommitIsOneRequest(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{Members: 3})
	s := open(t, at(t, c))
	w := kvtest.Watch(t, s, "")
	soon(t, s, put("pool/p", "pool"))
	w.Until(t, "begun", func(changes []kv.Change, _ map[string]string) bool { return len(changes) > 0 })
	const n = 50
	got := asked(t, c, func() {
		for i := range n {
			ops, conds := newName(i)
			if err := s.Commit(t.Context(), ops, conds...); err != nil {
				t.Fatal(err)
			}
		}
	})
	if got["KV/Txn"] != n || len(got) != 1 {
		t.Errorf("%d new names asked for %v", n, got)
	}
	got = asked(t, c, func() {
		for i := range n {
			ops, conds := newName(i)
			if err, conflict := s.Commit(t.Context(), ops, conds...), (*kv.Conflict)(nil); !errors.As(err, &conflict) {
				t.Fatal(err)
			}
		}
	})
	if got["KV/Txn"] != n || len(got) != 1 {
		t.Errorf("%d conflicts asked for %v", n, got)
	}
}

func BenchmarkNewName(b *testing.B) {
	c := etcdtest.Start(b, etcdtest.Config{Members: 3})
	s, err := etcdkv.Open(at(b, c))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for s.Commit(b.Context(), []kv.Op{put("pool/p", "pool")}) != nil {
		continue
	}
	i := 0
	got := asked(b, c, func() {
		for b.Loop() {
			ops, conds := newName(i)
			i++
			if err := s.Commit(b.Context(), ops, conds...); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(got["KV/Txn"]+got["KV/Put"]+got["KV/DeleteRange"])/float64(i), "roundtrips/op")
	b.ReportMetric(float64(got["KV/Range"])/float64(i), "reads/op")
}

// BenchmarkLoad reads a full cluster: 100,000 endpoints, two keys each.
func BenchmarkLoad(b *testing.B) {
	c := etcdtest.Start(b, etcdtest.Config{Members: 3})
	s, err := etcdkv.Open(at(b, c))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	const keys = 200_000
	for from := 0; from < keys; from += 100 {
		var ops []kv.Op
		for i := range 100 {
			ops = append(ops, kv.Op{Key: fmt.Sprintf("lease/p/name-of-a-container-%06d", from+i), Value: make([]byte, 60)})
		}
		for s.Commit(b.Context(), ops) != nil {
			continue
		}
	}
	for b.Loop() {
		n := 0
		if err := s.Load(b.Context(), "", func(string, []byte) error { n++; return nil }); err != nil || n != keys {
			b.Fatal(n, err)
		}
	}
}
