package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/metrics"
	"github.com/dockstack/dockstack/internal/page/pagetest"
)

// source is a daemon whose status a test sets.
type source struct{ status admin.Status }

func (s source) Status(context.Context) admin.Status { return s.status }

func exporter(src metrics.Source, drops func(context.Context) (map[string]uint64, error)) *metrics.Exporter {
	return metrics.New(metrics.Config{Source: src, Drops: drops, Log: slog.New(slog.DiscardHandler)})
}

// scrape is what Prometheus gets.
func scrape(t *testing.T, e *metrics.Exporter) string {
	t.Helper()
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("scrape: %d %v\n%s", w.Code, err, body)
	}
	return string(body)
}

// whole is a scrape in which each metric has a value.
func whole(t *testing.T) string {
	t.Helper()
	w := pagetest.OpenStack(3)
	e := exporter(w, func(context.Context) (map[string]uint64, error) { return map[string]uint64{"a": 7}, nil })
	e.Call("/NetworkDriver.Join", 3*time.Millisecond, nil)
	return scrape(t, e)
}

func has(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			name, _, _ = strings.Cut(name, " ")
			var near []string
			for have := range strings.Lines(text) {
				if strings.HasPrefix(have, name) {
					near = append(near, have)
				}
			}
			t.Errorf("no line\n\t%s\nbut\n\t%s", line, strings.Join(near, "\t"))
		}
	}
}

func TestStatusAsMetrics(t *testing.T) {
	text := scrape(t, exporter(source{admin.Status{
		Version: "1.4.0", Engine: "29.6.0",
		Hosts:  []admin.Host{{ID: "b", Name: "host2"}, {ID: "a", Name: "host1", Self: true}},
		Store:  admin.StoreStatus{Cluster: "c", Since: time.UnixMilli(1500), Synced: true},
		Switch: admin.SwitchStatus{Up: true, Error: "no", Endpoints: 4, Tunnel: admin.TunnelStatus{Peers: 1, Faults: []string{"x", "y"}}},
		DNS: admin.DNSStatus{Queries: 9, Failed: 2, Listeners: []admin.DNSListener{
			{Addr: netip.MustParseAddrPort("127.0.0.1:53")}, {Addr: netip.MustParseAddrPort("127.0.0.2:53"), Error: "taken"},
		}},
		Pools: []admin.Pool{
			{ID: "10.0.0.0/24", Network: "internal", InUse: true, Live: 3, Parked: 2, Reserved: 1, Free: 248},
			{ID: "fd00::/64@blue", Network: "internal", Live: 3, Free: admin.MaxFree},
		},
		Problems: []string{"one", "two", "three"},
	}}, nil))
	has(
		t, text,
		`dockstack_host_info{host="host1",id="a"} 1`,
		`dockstack_engine_info{version="29.6.0"} 1`,
		`dockstack_problems 3`,
		`dockstack_hosts 2`,
		`dockstack_store_up 1`,
		`dockstack_store_shared 1`,
		`dockstack_store_held 0`,
		`dockstack_store_changed_timestamp_seconds 1.5`,
		`dockstack_leases{network="internal",state="live",subnet="10.0.0.0/24"} 3`,
		`dockstack_leases{network="internal",state="parked",subnet="10.0.0.0/24"} 2`,
		`dockstack_leases_reserved{network="internal",subnet="10.0.0.0/24"} 1`,
		`dockstack_pool_addresses{network="internal",subnet="10.0.0.0/24"} 253`,
		`dockstack_pool_addresses_free{network="internal",subnet="10.0.0.0/24"} 248`,
		`dockstack_pool_in_use{network="internal",subnet="10.0.0.0/24"} 1`,
		`dockstack_pool_in_use{network="internal",subnet="fd00::/64@blue"} 0`,
		`dockstack_switch_up 1`,
		`dockstack_switch_faulty 1`,
		`dockstack_switch_endpoints 4`,
		`dockstack_tunnel_faults 2`,
		`dockstack_dns_listeners{state="failed"} 1`,
		`dockstack_dns_listeners{state="up"} 1`,
		`dockstack_dns_queries_total 9`,
		`dockstack_dns_failed_total 2`,
	)
	if strings.Contains(text, `dockstack_pool_addresses{network="internal",subnet="fd00`) {
		t.Error("an IPv6 pool has a number of addresses that nobody counted")
	}
}

func TestStoreAwayAsMetrics(t *testing.T) {
	for name, c := range map[string]struct {
		store      admin.StoreStatus
		alone      bool
		up, synced int
	}{
		"alone":   {admin.StoreStatus{}, true, 1, 1},
		"closed":  {admin.StoreStatus{Closed: "no"}, true, 0, 1},
		"away":    {admin.StoreStatus{Away: "no", Synced: true}, false, 0, 1},
		"reading": {admin.StoreStatus{}, false, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			has(t, scrape(t, exporter(source{admin.Status{Alone: c.alone, Store: c.store}}, nil)),
				fmt.Sprintf("dockstack_store_up %d", c.up), fmt.Sprintf("dockstack_store_synced %d", c.synced))
		})
	}
}

func TestDropsOutliveEndpoints(t *testing.T) {
	now := map[string]uint64{"a": 5, "b": 3}
	var failing error
	e := exporter(source{}, func(context.Context) (map[string]uint64, error) { return now, failing })
	has(t, scrape(t, e), "dockstack_switch_dropped_packets_total 8")
	now = map[string]uint64{"a": 6}
	has(t, scrape(t, e), "dockstack_switch_dropped_packets_total 9")
	now = map[string]uint64{"a": 2, "c": 1} // a got a new port
	has(t, scrape(t, e), "dockstack_switch_dropped_packets_total 12")
	failing = errors.New("the switch is not up")
	if text := scrape(t, e); strings.Contains(text, "dropped_packets_total ") {
		t.Error("drops are told though the switch could not be asked")
	}
}

func TestCalls(t *testing.T) {
	e := exporter(source{}, nil)
	e.Call("/NetworkDriver.Join", 3*time.Millisecond, nil)
	e.Call("/NetworkDriver.Join", 3*time.Millisecond, errors.New("no"))
	for i := range 100 {
		e.Call(fmt.Sprintf("/whatever/%d", i), time.Millisecond, nil)
	}
	has(
		t, scrape(t, e),
		`dockstack_driver_call_duration_seconds_count{call="NetworkDriver.Join",result="served"} 1`,
		`dockstack_driver_call_duration_seconds_count{call="NetworkDriver.Join",result="refused"} 1`,
		`dockstack_driver_call_duration_seconds_bucket{call="NetworkDriver.Join",result="served",le="0.0025"} 0`,
		`dockstack_driver_call_duration_seconds_bucket{call="NetworkDriver.Join",result="served",le="0.005"} 1`,
		`dockstack_driver_call_duration_seconds_count{call="other",result="served"} 100`,
	)
}

// TestSeriesAreBounded: thousands of pools, and names of networks from anywhere,
// don't make thousands of series or a scrape that can't be read.
func TestSeriesAreBounded(t *testing.T) {
	s := admin.Status{}
	for i := range 3000 {
		s.Pools = append(s.Pools, admin.Pool{ID: fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), Network: "n\xff\n\"" + fmt.Sprint(i), Parked: 1, Free: 10, InUse: i >= 2990})
	}
	text := scrape(t, exporter(source{s}, nil))
	if n := strings.Count(text, "dockstack_leases{"); n != 1000 {
		t.Errorf("%d series of leases, want those of 500 pools", n)
	}
	has(t, text, `dockstack_leases{network="",state="parked",subnet="other"} 2501`)
	if n := strings.Count(text, "dockstack_pool_in_use{"); n != 500 || strings.Count(text, `"} 1`+"\n") < 10 {
		t.Error("pools in use are not among those with series of their own")
	}
	promtool(t, text, "check", "metrics")
}

// promtool runs Prometheus' own checker.
func promtool(t *testing.T, input string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("promtool is not there: run `make deps` (%v)", err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Dir = "../../docs/prometheus"
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, &out)
	}
}

func TestPrometheusTakesThem(t *testing.T) { promtool(t, whole(t), "check", "metrics") }

func TestAlerts(t *testing.T) {
	promtool(t, "", "check", "rules", "alerts.yml")
	promtool(t, "", "test", "rules", "alerts_test.yml")
}
