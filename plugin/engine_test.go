package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/ipam"
)

// engine plays Docker's part of the conversation against a real store.
type engine struct {
	t        *testing.T
	dir      string
	fabric   *fakeFabric
	server   *httptest.Server
	networks []fabric.Network // what Changed last said
	driver   *Driver
	state    *State
	stop     func()

	mu     sync.Mutex
	served []string // calls, those that were refused with a !; guarded by mu
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{t: t, dir: t.TempDir(), fabric: newFakeFabric()}
	e.start()
	t.Cleanup(func() { e.stop() })
	return e
}

// start brings the plugin up on the directory's state, as after a crash.
func (e *engine) start() {
	e.t.Helper()
	log := slog.New(slog.DiscardHandler)
	kvs, err := boltkv.Open(filepath.Join(e.dir, "dockstack.db"))
	if err != nil {
		e.t.Fatal(err)
	}
	leases, err := ipam.Open(e.t.Context(), kvs, ipam.Config{
		Supernet4: netip.MustParsePrefix("10.212.0.0/14"), Supernet6: netip.MustParsePrefix("fd0d:c5c::/32"), Log: log,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.state = &State{Store: kvs, Leases: leases}
	d, err := New(Config{
		State:      func(context.Context) (*State, error) { return e.state, nil },
		Fabric:     e.fabric,
		DefaultMTU: func() int { return 1450 },
		MAC:        func(netip.Addr) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, 1} },
		JournalDir: filepath.Join(e.dir, "calls"),
		Changed:    func(n []fabric.Network) { e.networks = n },
		Served:     e.note,
		Log:        log,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.driver = d
	e.server = httptest.NewServer(d.Handler())
	e.stop = func() {
		e.server.Close()
		if err := kvs.Close(); err != nil {
			e.t.Error(err)
		}
	}
}

// note takes down a call that was served.
func (e *engine) note(c Call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.Took <= 0 {
		e.t.Errorf("%s took %s", c.Path, c.Took)
	}
	text := c.Path
	if c.Err != nil {
		text += "!"
	}
	e.served = append(e.served, text)
}

// restart ends the plugin and brings it up again.
func (e *engine) restart() {
	e.t.Helper()
	e.stop()
	e.start()
}

type object = map[string]any

// raw sends body as it is and returns the answer.
func (e *engine) raw(path, body string) object {
	e.t.Helper()
	res, err := http.Post(e.server.URL+path, "", bytes.NewBufferString(body))
	if err != nil {
		e.t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		e.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		e.t.Fatalf("%s: status %d: the engine would show %s as it is", path, res.StatusCode, text)
	}
	var out object
	if err := json.Unmarshal(text, &out); err != nil {
		e.t.Fatalf("%s: %v in %s", path, err, text)
	}
	return out
}

// call sends req and returns the answer and the error's text, whichever key it has.
func (e *engine) call(path string, req object) (object, string) {
	e.t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		e.t.Fatal(err)
	}
	out := e.raw(path, string(body))
	for _, key := range []string{"Err", "Error"} {
		if text, _ := out[key].(string); text != "" {
			return out, text
		}
	}
	return out, ""
}

// must is call where an error ends the test.
func (e *engine) must(path string, req object) object {
	e.t.Helper()
	out, failed := e.call(path, req)
	if failed != "" {
		e.t.Fatalf("%s: %s", path, failed)
	}
	return out
}

// createNetwork does what the engine does for `docker network create`.
func (e *engine) createNetwork(id, subnet string, opts object) (pool string) {
	e.t.Helper()
	out := e.must("/IpamDriver.RequestPool", object{"AddressSpace": "dockstack", "Pool": subnet})
	pool = out["PoolID"].(string)
	gw := e.must("/IpamDriver.RequestAddress", object{"PoolID": pool, "Options": object{"RequestAddressType": "com.docker.network.gateway"}})
	e.must("/NetworkDriver.CreateNetwork", object{
		"NetworkID": id,
		"Options":   object{"com.docker.network.enable_ipv4": true, "com.docker.network.generic": opts},
		"IPv4Data":  []object{{"AddressSpace": "dockstack", "Pool": out["Pool"], "Gateway": gw["Address"]}},
	})
	return pool
}

// removeNetwork does what it does for `docker network rm`, in its order.
func (e *engine) removeNetwork(id, pool, gateway string) {
	e.t.Helper()
	e.must("/IpamDriver.ReleaseAddress", object{"PoolID": pool, "Address": gateway})
	e.must("/IpamDriver.ReleasePool", object{"PoolID": pool})
	e.must("/NetworkDriver.DeleteNetwork", object{"NetworkID": id})
}

// startContainer does what it does for a container's start; it returns address and MAC.
func (e *engine) startContainer(network, pool, name, endpoint string) (addr, mac string) {
	e.t.Helper()
	out := e.must("/IpamDriver.RequestAddress", object{"PoolID": pool, "Options": object{"com.docker.network.endpoint.name": name}})
	addr = out["Address"].(string)
	out = e.must("/NetworkDriver.CreateEndpoint", object{"NetworkID": network, "EndpointID": endpoint, "Interface": object{"Address": addr}})
	mac = out["Interface"].(object)["MacAddress"].(string)
	out = e.must("/NetworkDriver.Join", object{"NetworkID": network, "EndpointID": endpoint, "SandboxKey": "/run/docker/netns/x"})
	if got := out["InterfaceName"].(object)["SrcName"]; got != "ds-"+endpoint {
		e.t.Fatalf("Join: interface %v", got)
	}
	e.must("/NetworkDriver.EndpointOperInfo", object{"NetworkID": network, "EndpointID": endpoint})
	return addr, mac
}

// stopContainer does what it does at a container's end.
func (e *engine) stopContainer(network, pool, endpoint, addr string) {
	e.t.Helper()
	e.must("/NetworkDriver.Leave", object{"NetworkID": network, "EndpointID": endpoint})
	e.must("/NetworkDriver.DeleteEndpoint", object{"NetworkID": network, "EndpointID": endpoint})
	e.must("/IpamDriver.ReleaseAddress", object{"PoolID": pool, "Address": addr[:len(addr)-len("/16")]})
}
