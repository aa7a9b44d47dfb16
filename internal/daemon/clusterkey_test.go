package daemon

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

const where = "etcd://10.0.0.1:2379/dockstack"

func TestEnter(t *testing.T) {
	ours := clusterRecord{ID: "c0ffee", Format: clusterFormat}
	tests := []struct {
		what    string
		there   []kv.Op
		mine    clusterRecord
		refused []string // in the error; none: entered
	}{
		{"an empty store", nil, clusterRecord{}, nil},
		{"a cluster, for a host alone", []kv.Op{{Key: clusterKey, Value: ours.encode()}, put("lease/p/a", "x")}, clusterRecord{}, nil},
		{"our cluster", []kv.Op{{Key: clusterKey, Value: ours.encode()}, put("host/a", "x")}, ours, nil},
		{"another cluster", []kv.Op{{Key: clusterKey, Value: ours.encode()}}, clusterRecord{ID: "decaf", Format: 1}, []string{"c0ffee", "decaf", "DOCKSTACK_STORE to nothing"}},
		{"an empty store, for a host of a cluster", nil, ours, []string{"c0ffee", "no cluster", "backup", "DOCKSTACK_STORE to nothing"}},
		{"another program's keys", []kv.Op{put("calico/ipam", "x")}, clusterRecord{}, []string{"another program", `"calico/ipam"`, "prefix"}},
		{"another program's key of that name", []kv.Op{put(clusterKey, "main")}, clusterRecord{}, []string{"another program", `"main"`, "prefix"}},
		{"keys without a cluster, for a host of one", []kv.Op{put("lease/p/a", "x")}, ours, []string{"c0ffee", "no cluster"}},
		{"a newer format", []kv.Op{put(clusterKey, `{"id":"c0ffee","format":2,"shards":7}`)}, ours, []string{"newer", "format 2", "upgrade"}},
		{"newer fields", []kv.Op{put(clusterKey, `{"id":"c0ffee","format":1,"shards":7}`)}, ours, nil},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			m := kvtest.NewMemory()
			if len(tt.there) > 0 {
				if err := m.Commit(t.Context(), tt.there); err != nil {
					t.Fatal(err)
				}
			}
			before := m.Commits()
			got, err := enter(t.Context(), m.Join(), where, tt.mine)
			if tt.refused == nil {
				if err != nil || got.ID == "" || tt.mine.ID != "" && got.ID != tt.mine.ID {
					t.Fatalf("entered %+v, %v", got, err)
				}
				return
			}
			if !errors.Is(err, errRefused) {
				t.Fatalf("entered %+v, or %v", got, err)
			}
			for _, word := range append(tt.refused, where) {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q lacks %q", err, word)
				}
			}
			if m.Commits() != before {
				t.Error("the store was written")
			}
		})
	}
}

// Hosts that find a store empty at the same time make one cluster of it.
func TestHostsFoundOneCluster(t *testing.T) {
	m := kvtest.NewMemory()
	ids := make([]string, 20)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			r, err := enter(t.Context(), m.Join(), where, clusterRecord{})
			if err != nil {
				t.Error(err)
			}
			ids[i] = r.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("they are in %q", ids)
		}
	}
}

// An etcd that lost its data, or was exchanged, while it is followed must not
// make this host forget its names.
func TestStoreIsLostWhileFollowed(t *testing.T) {
	there := clusterRecord{ID: "c0ffee", Format: clusterFormat}
	tests := []struct {
		what string
		do   []kv.Op
		word string
	}{
		{"removed", []kv.Op{{Key: clusterKey, Delete: true}, {Key: "lease/p/a", Delete: true}}, "no cluster key any more"},
		{"another's", []kv.Op{put(clusterKey, `{"id":"decaf","format":1}`), {Key: "lease/p/a", Delete: true}}, "decaf"},
	}
	for _, tt := range tests {
		for _, anew := range []string{"with a change", "with everything anew"} {
			t.Run(tt.what+" "+anew, func(t *testing.T) {
				m := kvtest.NewMemory()
				if err := m.Commit(t.Context(), []kv.Op{{Key: clusterKey, Value: there.encode()}, put("lease/p/a", "1")}); err != nil {
					t.Fatal(err)
				}
				host := m.Join()
				ctx, lost := context.WithCancelCause(t.Context())
				var followed []kv.Change
				begun := make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() {
					o := &ours{Shared: host, where: where, there: there, lost: lost}
					_ = o.Follow(ctx, "", func(ch kv.Change) {
						followed = append(followed, ch)
						if ch.Whole {
							close(begun)
						}
					})
				})
				<-begun
				if anew == "with everything anew" {
					host.Cut()
				}
				if err := m.Commit(t.Context(), tt.do); err != nil {
					t.Fatal(err)
				}
				host.MendAnew()
				<-ctx.Done()
				wg.Wait()
				if err := context.Cause(ctx); !errors.Is(err, errRefused) || !strings.Contains(err.Error(), tt.word) {
					t.Errorf("it ended with %v", err)
				}
				if len(followed) != 1 {
					t.Errorf("%d changes were followed, want only the first: %+v", len(followed), followed)
				}
			})
		}
	}
}

func put(key, value string) kv.Op { return kv.Op{Key: key, Value: []byte(value)} }
