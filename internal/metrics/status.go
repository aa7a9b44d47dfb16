package metrics

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dockstack/dockstack/internal/admin"
)

// maxPools is how many pools have series of their own; the others are summed up
// under the subnet "other". Pools are never forgotten, so their number is bounded
// by nothing else.
const maxPools = 500

// metric is one that is read from the status.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(s admin.Status, put put)
}

// put adds a value to a metric, with its labels' values.
type put func(value float64, labels ...string)

func gauge(name, help string, labels []string, read func(admin.Status, put)) metric {
	return metric{prometheus.NewDesc("dockstack_"+name, help, labels, nil), prometheus.GaugeValue, read}
}

func counter(name, help string, read func(admin.Status) uint64) metric {
	return metric{
		prometheus.NewDesc("dockstack_"+name, help, nil, nil), prometheus.CounterValue,
		func(s admin.Status, put put) { put(float64(read(s))) },
	}
}

// one is a gauge that has one value.
func one(name, help string, read func(admin.Status) float64) metric {
	return gauge(name, help, nil, func(s admin.Status, put put) { put(read(s)) })
}

// pooled is a gauge of each pool. Where read says false the pool has none.
func pooled(name, help string, read func(admin.Pool) (float64, bool)) metric {
	return gauge(name, help, []string{"network", "subnet"}, func(s admin.Status, put put) {
		for _, p := range s.Pools {
			if v, ok := read(p); ok {
				put(v, p.Network, subnet(p))
			}
		}
	})
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var droppedDesc = prometheus.NewDesc("dockstack_switch_dropped_packets_total",
	"Packets that port security dropped since the daemon's start: an address or MAC that is not the container's own.", nil, nil)

var statusMetrics = slices.Concat(generalMetrics, poolMetrics, switchMetrics, dnsMetrics)

var generalMetrics = []metric{
	gauge("build_info", "1, with the version of dockstack and of Go.", []string{"version", "goversion"}, func(s admin.Status, put put) {
		put(1, s.Version, goVersion)
	}),
	gauge("host_info", "1, with what this host is called, and its id where it shares a store.", []string{"host", "id"}, func(s admin.Status, put put) {
		for _, h := range s.Hosts {
			if h.Self {
				put(1, h.Name, h.ID)
				return
			}
		}
	}),
	gauge("engine_info", "1, with the version of Docker's engine; left out while it was not heard of.", []string{"version"}, func(s admin.Status, put put) {
		if s.Engine != "" {
			put(1, s.Engine)
		}
	}),
	one("problems", "Things that a person should mend; `docker dockstack status` names them.", func(s admin.Status) float64 { return float64(len(s.Problems)) }),
	one("hosts", "Hosts that are alive, with this one.", func(s admin.Status) float64 { return float64(len(s.Hosts)) }),
	one("store_up", "1 if the store is open and reached, 0 if not: new names can't start then.", func(s admin.Status) float64 {
		return truth(s.Store.Closed == "" && s.Store.Away == "")
	}),
	one("store_shared", "1 if this host shares a store with others.", func(s admin.Status) float64 { return truth(!s.Alone) }),
	one("store_synced", "1 if what other hosts wrote is known here; 1 also for a host alone.", func(s admin.Status) float64 { return truth(s.Alone || s.Store.Synced) }),
	one("store_held", "1 if other hosts know that this one is alive; 1 also for a host alone.", func(s admin.Status) float64 { return truth(s.Alone || s.Store.Held) }),
	gauge("store_changed_timestamp_seconds", "When the shared store was last reached or went away, in seconds since 1970.", nil, func(s admin.Status, put put) {
		if !s.Store.Since.IsZero() {
			put(float64(s.Store.Since.UnixMilli()) / 1000)
		}
	}),
}

var poolMetrics = []metric{
	gauge("leases", "Addresses that are kept for names, by state: live (a container holds it) or parked (kept for its name).", []string{"network", "subnet", "state"},
		func(s admin.Status, put put) {
			for _, p := range s.Pools {
				put(float64(p.Live), p.Network, subnet(p), admin.StateLive)
				put(float64(p.Parked), p.Network, subnet(p), admin.StateParked)
			}
		}),
	pooled("leases_reserved", "Addresses that an operator reserved; they are among the live or parked ones too.", func(p admin.Pool) (float64, bool) {
		return float64(p.Reserved), true
	}),
	pooled("pool_addresses", "Addresses that names can have in the pool, held or free; left out where there are more than can be counted, as in IPv6.", func(p admin.Pool) (float64, bool) {
		return float64(int64(p.Live+p.Parked) + p.Free), p.Free < admin.MaxFree
	}),
	pooled("pool_addresses_free", "Addresses of the pool that no name holds; left out where there are more than can be counted, as in IPv6.", func(p admin.Pool) (float64, bool) {
		return float64(p.Free), p.Free < admin.MaxFree
	}),
	pooled("pool_in_use", "1 if a network of this or another host has the pool.", func(p admin.Pool) (float64, bool) { return truth(p.InUse), true }),
}

var switchMetrics = []metric{
	one("switch_up", "1 if Open vSwitch answers: containers can't start without it.", func(s admin.Status) float64 { return truth(s.Switch.Up) }),
	one("switch_faulty", "1 if the switch is not as wanted.", func(s admin.Status) float64 { return truth(s.Switch.Error != "") }),
	one("switch_networks", "Networks that this host has.", func(s admin.Status) float64 { return float64(s.Switch.Networks) }),
	one("switch_endpoints", "Containers' interfaces that this host has.", func(s admin.Status) float64 { return float64(s.Switch.Endpoints) }),
	one("switch_ports", "Ports of the switch that are dockstack's.", func(s admin.Status) float64 { return float64(s.Switch.Ports) }),
	one("switch_flows", "Flows of the switch that are dockstack's.", func(s admin.Status) float64 { return float64(s.Switch.Flows) }),
	one("tunnel_peers", "Other hosts that frames are taken from.", func(s admin.Status) float64 { return float64(s.Switch.Tunnel.Peers) }),
	one("tunnel_faults", "Hosts that can't be reached by a tunnel, and other faults of tunnels.", func(s admin.Status) float64 { return float64(len(s.Switch.Tunnel.Faults)) }),
	one("tunnel_networks", "Networks that reach other hosts.", func(s admin.Status) float64 { return float64(s.Switch.Tunnel.Networks) }),
	one("tunnel_remote_addresses", "Addresses of containers on other hosts that are known here.", func(s admin.Status) float64 { return float64(s.Switch.Tunnel.Remotes) }),
	one("tunnel_flows", "Flows of the switch that are about other hosts.", func(s admin.Status) float64 { return float64(s.Switch.Tunnel.Flows) }),
}

var dnsMetrics = []metric{
	gauge("dns_listeners", "Addresses that DNS is asked on, by state: up or failed.", []string{"state"}, func(s admin.Status, put put) {
		failed := 0
		for _, l := range s.DNS.Listeners {
			if l.Error != "" {
				failed++
			}
		}
		put(float64(len(s.DNS.Listeners)-failed), "up")
		put(float64(failed), "failed")
	}),
	counter("dns_queries_total", "Queries that came in.", func(s admin.Status) uint64 { return s.DNS.Queries }),
	counter("dns_answered_total", "Queries that were answered from dockstack's own names.", func(s admin.Status) uint64 { return s.DNS.Answered }),
	counter("dns_forwarded_total", "Queries that another resolver was asked.", func(s admin.Status) uint64 { return s.DNS.Forwarded }),
	counter("dns_cached_total", "Queries for other names that were answered from the cache.", func(s admin.Status) uint64 { return s.DNS.Cached }),
	counter("dns_stale_total", "Queries that were answered with what had expired, because no resolver answered.", func(s admin.Status) uint64 { return s.DNS.Stale }),
	one("dns_cache_entries", "Answers that are kept.", func(s admin.Status) float64 { return float64(s.DNS.CacheEntries) }),
	one("dns_cache_bytes", "Memory that kept answers take.", func(s admin.Status) float64 { return float64(s.DNS.CacheBytes) }),
	counter("dns_failed_total", "Queries that no resolver answered.", func(s admin.Status) uint64 { return s.DNS.Failed }),
	counter("dns_refused_total", "Queries from addresses that are not served.", func(s admin.Status) uint64 { return s.DNS.Refused }),
	counter("dns_limited_total", "Queries of clients that asked too much.", func(s admin.Status) uint64 { return s.DNS.Limited }),
	counter("dns_malformed_total", "Packets that are no DNS query.", func(s admin.Status) uint64 { return s.DNS.Malformed }),
}

// Describe implements prometheus.Collector.
func (e *Exporter) Describe(to chan<- *prometheus.Desc) {
	for _, m := range statusMetrics {
		to <- m.desc
	}
	to <- droppedDesc
}

// Collect implements prometheus.Collector.
func (e *Exporter) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), askFor)
	defer cancel()
	s := e.cfg.Source.Status(ctx)
	s.Pools = few(s.Pools)
	for _, m := range statusMetrics {
		m.read(s, func(value float64, labels ...string) {
			for i := range labels {
				labels[i] = valid(labels[i])
			}
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
		})
	}
	if n, ok := e.drops(ctx); ok {
		to <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(n))
	}
}

// subnet tells a pool from all others, also from those of other overlays with the
// same addresses.
func subnet(p admin.Pool) string { return p.ID }

// otherPools is the subnet of the pools that have no series of their own.
const otherPools = "other"

// few puts the pools beyond maxPools into one, those that are not in use first.
func few(pools []admin.Pool) []admin.Pool {
	if len(pools) <= maxPools {
		return pools
	}
	pools = slices.Clone(pools)
	slices.SortStableFunc(pools, func(a, b admin.Pool) int {
		return cmp.Or(cmp.Compare(truth(b.InUse), truth(a.InUse)), cmp.Compare(b.Live+b.Parked, a.Live+a.Parked))
	})
	rest := admin.Pool{ID: otherPools}
	for _, p := range pools[maxPools-1:] {
		rest.Live, rest.Parked, rest.Reserved = rest.Live+p.Live, rest.Parked+p.Parked, rest.Reserved+p.Reserved
		rest.Free = min(rest.Free+p.Free, admin.MaxFree)
		rest.InUse = rest.InUse || p.InUse
	}
	return append(pools[:maxPools-1:maxPools-1], rest)
}

// valid is a text that a label can have.
func valid(text string) string { return strings.ToValidUTF8(text, "\ufffd") }
