package ipam_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/ipam"
)

func TestACommitThatFails(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	w.gets("web", "172.16.0.2")
	w.release("172.16.0.2")
	serial := w.reg.Names().Serial()
	w.store.FailNext(fmt.Errorf("%w: write /var/lib/dockstack/store.db: no space left on device; make room on the disk and try again", kv.ErrNoSpace))
	_, err := w.ask("unheard-of")
	w.fails(err, kv.ErrNoSpace, "nothing was changed: no space left for the store: write /var/lib/dockstack/store.db: no space left on device; make room on the disk and try again")
	w.store.FailNext(errors.New("the disk burns"))
	_, err = w.ask("new")
	if err == nil || err.Error() != "nothing was changed, the store did not take it: the disk burns" {
		t.Errorf("it says %v", err)
	}
	w.holds("172.16.0.2", "web parked")
	w.holds("172.16.0.3", "nobody")
	if w.reg.Names().Serial() != serial || w.reg.Names().ByName("web") != nil {
		t.Error("a failed commit is shown")
	}
	w.gets("web", "172.16.0.2")
	// A request that changes nothing needs no room.
	w.store.FailNext(errors.New("full"))
	w.gets("web", "172.16.0.2")
}

// A store may carry a commit out and lose the answer. What was undone must
// not come back after a restart beside what was decided since.
func TestACommitWhoseAnswerGotLost(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	w.store.LoseNext(errors.New("cut off"))
	if _, err := w.ask("ghost"); err == nil {
		t.Fatal("no error")
	}
	w.gets("web", "172.16.0.2")
	w.open()
	w.holds("172.16.0.2", "web live")
	if all, err := w.reg.Leases(w.ctx, ipam.LeaseFilter{Name: "ghost"}); err != nil || len(all) != 0 {
		t.Errorf("the ghost is back: %v %v", all, err)
	}
}

func TestRecordsThatCannotBe(t *testing.T) {
	pool := `{"v":1,"subnet":"172.16.0.0/16","range":"172.16.0.0/16"}`
	lease := "\x01\x00\x02\x04\xac\x10\x00\x02"
	const wayOut = "; put a backup of the store in its place, or move it away to start without names"
	for _, c := range []struct {
		what  string
		add   map[string]string
		kind  error
		parts []string
	}{
		{"a pool that is no JSON", map[string]string{"pool/172.16.0.0/16": "{"}, kv.ErrDamaged, []string{`read pools: store is damaged: record "pool/172.16.0.0/16"`, wayOut}},
		{"a pool under another's key", map[string]string{"pool/172.17.0.0/16": pool}, kv.ErrDamaged, []string{`"pool/172.17.0.0/16"`, "it is for 172.16.0.0/16", wayOut}},
		{"a pool under no subnet", map[string]string{"pool/x": pool}, kv.ErrDamaged, []string{`"pool/x"`, wayOut}},
		{"a range outside", map[string]string{"pool/172.16.0.0/16": `{"v":1,"subnet":"172.16.0.0/16","range":"172.17.0.0/24"}`}, kv.ErrDamaged, []string{"range 172.17.0.0/24"}},
		{"a gateway outside", map[string]string{"pool/172.16.0.0/16": `{"v":1,"subnet":"172.16.0.0/16","range":"172.16.0.0/24","gateway":"10.0.0.1"}`}, kv.ErrDamaged, []string{"10.0.0.1 lies outside"}},
		{"a pool without a version", map[string]string{"pool/172.16.0.0/16": `{"subnet":"172.16.0.0/16","range":"172.16.0.0/16"}`}, kv.ErrDamaged, []string{wayOut}},
		{"a newer pool", map[string]string{"pool/172.16.0.0/16": `{"v":2,"all":"different"}`}, kv.ErrNewer, []string{`record "pool/172.16.0.0/16": store was written by a newer version: it has version 2, this dockstack knows 1; install that version again, or a newer one`}},
		{"a lease without a pool", map[string]string{"lease/172.17.0.0/16/web": lease}, kv.ErrDamaged, []string{`read leases: store is damaged: record "lease/172.17.0.0/16/web"`, "its pool is missing", wayOut}},
		{"a lease without a name", map[string]string{"lease/172.16.0.0/16/": lease}, kv.ErrDamaged, []string{wayOut}},
		{"a lease of nothing", map[string]string{"lease/172.16.0.0/16/web": ""}, kv.ErrDamaged, []string{wayOut}},
		{"a lease of half an address", map[string]string{"lease/172.16.0.0/16/web": lease[:6]}, kv.ErrDamaged, []string{wayOut}},
		{"a lease with too much", map[string]string{"lease/172.16.0.0/16/web": lease + "x"}, kv.ErrDamaged, []string{wayOut}},
		{"a lease outside its pool", map[string]string{"lease/172.16.0.0/16/web": "\x01\x00\x02\x04\x0a\x10\x00\x02"}, kv.ErrDamaged, []string{"10.16.0.2 lies outside"}},
		{"two names with one address", map[string]string{"lease/172.16.0.0/16/a": lease, "lease/172.16.0.0/16/b": lease}, kv.ErrDamaged, []string{`"lease/172.16.0.0/16/b"`, "172.16.0.2 is a's too"}},
		{"a newer lease", map[string]string{"lease/172.16.0.0/16/web": "\x02whatever"}, kv.ErrNewer, []string{`record "lease/172.16.0.0/16/web"`}},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			store, err := boltkv.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = store.Close() }()
			ops := []kv.Op{{Key: "pool/172.16.0.0/16", Value: []byte(pool)}}
			for k, v := range c.add {
				ops = append(ops, kv.Op{Key: k, Value: []byte(v)})
			}
			if err := store.Commit(t.Context(), ops); err != nil {
				t.Fatal(err)
			}
			_, err = ipam.Open(t.Context(), writeless{store}, ipam.Config{})
			if !errors.Is(err, c.kind) {
				t.Fatalf("got %v, want %v", err, c.kind)
			}
			for _, part := range c.parts {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
		})
	}
}

// writeless is a store that nobody may write to.
type writeless struct{ kv.Store }

func (writeless) Commit(context.Context, []kv.Op, ...kv.Cond) error { panic("written to") }

func TestManyAtOnce(t *testing.T) {
	store, err := boltkv.Open(filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	reg, err := ipam.Open(t.Context(), store, ipam.Config{})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := reg.RequestPool(t.Context(), ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reg.Bind(t.Context(), ipam.Binding{Network: "net", Pools: []string{pool.ID}}); err != nil {
		t.Fatal(err)
	}
	const callers, each = 64, 20
	var mu sync.Mutex
	got := map[string]netip.Addr{}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("n-%d-%d", c, i)
				addr, err := oneLife(t.Context(), reg, pool.ID, name)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				mu.Lock()
				got[name] = addr
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	holders := map[netip.Addr]string{}
	for name, addr := range got {
		if other, ok := holders[addr]; ok {
			t.Errorf("%s and %s both got %s", name, other, addr)
		}
		holders[addr] = name
	}
	if err := reg.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := ipam.Open(t.Context(), store, ipam.Config{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := again.Leases(t.Context(), ipam.LeaseFilter{State: ipam.StateLive})
	if err != nil || len(all) != callers*each {
		t.Fatalf("the store has %d live leases (%v), want %d", len(all), err, callers*each)
	}
	for _, l := range all {
		if got[l.Name] != l.Addr {
			t.Errorf("%s is %s in the store, was told %s", l.Name, l.Addr, got[l.Name])
		}
	}
}

// oneLife starts, stops and starts a container, as the engine does.
func oneLife(ctx context.Context, reg *ipam.Registry, pool, name string) (netip.Addr, error) {
	first, err := reg.RequestAddress(ctx, ipam.AddressRequest{Pool: pool, Name: name})
	if err != nil {
		return netip.Addr{}, err
	}
	ep := ipam.Endpoint{ID: "ep-" + name, Network: "net", Addrs: []netip.Addr{first.Addr()}}
	if _, err := reg.Attach(ctx, ep); err != nil {
		return netip.Addr{}, err
	}
	if host, ok := reg.Names().ByAddr(first.Addr()); !ok || host.Name != name {
		return netip.Addr{}, fmt.Errorf("DNS has %v", host)
	}
	if err := errors.Join(reg.Detach(ctx, ep.ID), reg.ReleaseAddress(ctx, pool, first.Addr())); err != nil {
		return netip.Addr{}, err
	}
	second, err := reg.RequestAddress(ctx, ipam.AddressRequest{Pool: pool, Name: name})
	if err == nil && second != first {
		err = fmt.Errorf("%s, then %s", first, second)
	}
	return second.Addr(), err
}

func TestACallerThatGivesUp(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	if _, err := w.reg.RequestAddress(ctx, ipam.AddressRequest{Pool: w.pool.ID, Name: "x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	w.holds("172.16.0.2", "nobody")
}
