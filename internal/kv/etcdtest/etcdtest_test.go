package etcdtest_test

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/dockstack/dockstack/internal/kv/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func get(c *clientv3.Client, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_, err := c.Get(ctx, "k")
	return err
}

func TestThreeMembersThroughProxies(t *testing.T) {
	e := etcdtest.Start(t, etcdtest.Config{Members: 3})
	c := client(t, e.Endpoints()[0])
	if err := get(c, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	e.Cut(0)
	if err := get(c, 300*time.Millisecond); err == nil {
		t.Error("a cut member answered")
	}
	e.Mend(0)
	c = client(t, e.Endpoints()[0])
	e.Delay(0, 100*time.Millisecond)
	start := time.Now()
	if err := get(c, 10*time.Second); err != nil || time.Since(start) < 200*time.Millisecond {
		t.Errorf("%v after %s, want an answer 200 ms late", err, time.Since(start))
	}
	e.Mend(0)
	was := e.Leader()
	e.Kill(was)
	if now := e.Leader(); now == was {
		t.Errorf("a killed member leads")
	}
	e.Restart(was)
	e.Ready()
	e.Pause(was)
	if err := get(client(t, e.Endpoints()[was]), 300*time.Millisecond); err == nil {
		t.Error("a paused member answered")
	}
	e.Resume(was)
	e.Ready()
	if n := e.Requests()["KV/Range"]; n < 2 {
		t.Errorf("etcd counted %d reads", n)
	}
}
