package plugin

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/ipam"
)

// BenchmarkSocketKnownName is a RequestAddress as the engine sends it, over the
// plugin's unix socket, for a name whose lease is parked; against a durable
// commit of the same size to a bbolt file on the same disk, in turn. The
// release between is not counted.
func BenchmarkSocketKnownName(b *testing.B) {
	const names = 1000
	dir := b.TempDir()
	client := serveBench(b, dir)
	raw := rawStore(b, filepath.Join(dir, "raw.db"))
	pool := client.must(b, "/IpamDriver.RequestPool", object{"AddressSpace": addressSpace, "Pool": "10.0.0.0/8"})["PoolID"].(string)
	request := func(i int) object {
		return object{"PoolID": pool, "Address": "", "Options": object{keyEndpointName: fmt.Sprint("name-", i%names)}}
	}
	for i := range names {
		client.must(b, "/IpamDriver.RequestAddress", request(i))
		commit(b, raw, i)
	}
	var ours, theirs []time.Duration
	for i := 0; b.Loop(); i++ {
		addr := client.must(b, "/IpamDriver.RequestAddress", request(i))["Address"].(string)
		client.must(b, "/IpamDriver.ReleaseAddress", object{"PoolID": pool, "Address": netip.MustParsePrefix(addr).Addr().String()})
		at := time.Now()
		again := client.must(b, "/IpamDriver.RequestAddress", request(i))["Address"]
		ours = append(ours, time.Since(at))
		if again != addr {
			b.Fatalf("name-%d had %s, now %s", i%names, addr, again)
		}
		at = time.Now()
		commit(b, raw, i%names)
		theirs = append(theirs, time.Since(at))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	mine, peer := ours[len(ours)/2], theirs[len(theirs)/2]
	b.ReportMetric(float64(mine.Microseconds()), "µs/request")
	b.ReportMetric(float64(peer.Microseconds()), "µs/bbolt-commit")
	b.ReportMetric(float64(mine)/float64(peer), "of-bbolt-commit(max1.5)")
}

// benchClient calls the plugin as the engine does: one kept connection.
type benchClient struct{ http.Client }

func (c *benchClient) must(b *testing.B, path string, req object) object {
	b.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		b.Fatal(err)
	}
	res, err := c.Post("http://plugin"+path, "application/json", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.Fatal(err)
	}
	var out object
	if err := json.Unmarshal(text, &out); err != nil {
		b.Fatalf("%s: %v in %s", path, err, text)
	}
	if failed, _ := out["Error"].(string); failed != "" {
		b.Fatalf("%s: %s", path, failed)
	}
	return out
}

// serveBench serves the plugin on a socket, with its store in dir and its notes
// on a tmpfs, as /run is.
func serveBench(b *testing.B, dir string) *benchClient {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := boltkv.Open(filepath.Join(dir, "dockstack.db"))
	if err != nil {
		b.Fatal(err)
	}
	leases, err := ipam.Open(b.Context(), store, ipam.Config{Log: log})
	if err != nil {
		b.Fatal(err)
	}
	notes, err := os.MkdirTemp("/dev/shm", "dockstack-bench-") //nolint:usetesting // TempDir is on a disk
	if err != nil {
		b.Fatal(err)
	}
	d, err := New(Config{
		State:      func(context.Context) (*State, error) { return &State{Store: store, Leases: leases}, nil },
		Fabric:     newFakeFabric(), // no IPAM call comes to it
		DefaultMTU: func() int { return 1450 },
		MAC:        ipam.MAC,
		JournalDir: filepath.Join(notes, "calls"),
		Log:        log,
	})
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(notes, "plugin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: d.Handler()}
	go func() { _ = server.Serve(l) }()
	b.Cleanup(func() {
		_ = server.Close()
		if err := store.Close(); err != nil {
			b.Error(err)
		}
		_ = os.RemoveAll(notes)
	})
	return &benchClient{http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
}

func rawStore(b *testing.B, path string) *bolt.DB {
	b.Helper()
	raw, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = raw.Close() })
	if err := raw.Update(func(t *bolt.Tx) error {
		_, err := t.CreateBucket([]byte("b"))
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return raw
}

// commit writes what a lease is in the store: a key of its length and a value.
func commit(b *testing.B, raw *bolt.DB, i int) {
	b.Helper()
	value := binary.AppendVarint(make([]byte, 11, 24), time.Now().UnixMilli())
	if err := raw.Update(func(t *bolt.Tx) error {
		return t.Bucket([]byte("b")).Put(fmt.Append(nil, "lease/10.0.0.0/8/name-", i), value)
	}); err != nil {
		b.Fatal(err)
	}
}
