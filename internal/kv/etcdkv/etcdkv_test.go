package etcdkv_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/etcdkv"
	"github.com/dockstack/dockstack/internal/kv/etcdtest"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var prefixes atomic.Int64

// at is the settings for an etcd, below a prefix of its own.
func at(tb testing.TB, c *etcdtest.Cluster) etcdkv.Settings {
	tb.Helper()
	a, err := etcdkv.Parse(c.URL())
	if err != nil {
		tb.Fatal(err)
	}
	a.Prefix = fmt.Sprintf("/dockstack/test%d-%d", os.Getpid(), prefixes.Add(1))
	return etcdkv.Settings{Address: a}
}

func TestConformance(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{})
	kvtest.Run(t, func(t *testing.T) kvtest.Opener {
		t.Helper()
		set := at(t, c)
		return func() (kv.Store, error) { return etcdkv.Open(set) }
	})
}

func TestSharedConformance(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{Members: 3})
	kvtest.RunShared(t, func(t *testing.T) kvtest.Joiner {
		t.Helper()
		set := at(t, c)
		return func() (kv.Shared, error) { return etcdkv.Open(set) }
	})
}
