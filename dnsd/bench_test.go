package dnsd

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	// benchRounds is how often each server is measured, in turn, so that what
	// else the machine does hits both.
	benchRounds  = 5
	benchSeconds = 2
)

// BenchmarkAgainstDnsmasq measures queries per second with dnsperf, of this
// server and of dnsmasq with the same names, in turn on loopback: the medians
// are qps and peer-qps, and ratio is the one by the other.
func BenchmarkAgainstDnsmasq(b *testing.B) {
	for _, names := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("names=%d", names), func(b *testing.B) { against(b, dnsmasqWith, names, forwardQuery) })
	}
	// Apart, because dnsmasq searches all its names for each address: a tenth
	// of such queries would make the comparison one of that.
	b.Run("reverse=10000", func(b *testing.B) { against(b, dnsmasqWith, 10_000, reverseQuery) })
}

// BenchmarkAgainstCoreDNS is the same for CoreDNS.
func BenchmarkAgainstCoreDNS(b *testing.B) {
	for _, names := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("names=%d", names), func(b *testing.B) { against(b, coreDNSWith, names, forwardQuery) })
	}
	b.Run("reverse=10000", func(b *testing.B) { against(b, coreDNSWith, 10_000, reverseQuery) })
}

// against measures this server and the one that peer starts.
func against(b *testing.B, start func(testing.TB, []Host) peer, count int, query func(int, Host) string) {
	b.Helper()
	names := manyNames(count)
	data := writeQueries(b, b.TempDir(), names, query)
	server, ours := serve(b, Config{}, newTable(names...))
	server.SetServed([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	theirs := start(b, names)
	var qps, peer, cost, peerCost []float64
	b.ResetTimer()
	for range b.N {
		qps, peer, cost, peerCost = nil, nil, nil, nil
		for range benchRounds {
			n, c := dnsperf(b, ours, data, os.Getpid())
			qps, cost = append(qps, n), append(cost, c)
			n, c = dnsperf(b, theirs.addr, data, theirs.pid)
			peer, peerCost = append(peer, n), append(peerCost, c)
		}
	}
	b.StopTimer()
	b.ReportMetric(median(qps), "qps")
	b.ReportMetric(median(peer), "peer-qps")
	b.ReportMetric(median(qps)/median(peer), "ratio")
	// Where dnsperf itself takes most of the processor, as on two cores, the
	// servers' own time per query tells more than the rate.
	b.ReportMetric(median(cost), "cpu-us/query")
	b.ReportMetric(median(peerCost), "peer-cpu-us/query")
	b.ReportMetric(0, "ns/op")
	b.Logf("dockstack %.0f, %s %.0f", qps, theirs.name, peer)
}

// BenchmarkPlain is the short way alone, without a socket.
func BenchmarkPlain(b *testing.B) {
	s := newServer(b, Config{}, newTable(manyNames(10_000)...))
	for _, q := range []string{"svc-1234.dockstack A", "nobody.dockstack A", "210.4.0.10.in-addr.arpa PTR"} {
		b.Run(q, func(b *testing.B) {
			packet, err := query1(b, q).Pack()
			if err != nil {
				b.Fatal(err)
			}
			s.SetServed([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
			buf := make([]byte, len(packet), maxUDP)
			look := s.lookup()
			look.room = make([]netip.Addr, 0, 16)
			client := netip.MustParseAddr("10.1.2.3")
			b.ReportAllocs()
			for b.Loop() {
				copy(buf, packet)
				if s.quick(look, buf, client, client) == 0 {
					b.Fatal("no quick answer")
				}
			}
		})
	}
}

// BenchmarkKept is a forwarded answer that is kept, the short way.
func BenchmarkKept(b *testing.B) {
	s := newServer(b, Config{}, newTable(manyNames(100)...))
	q := query1(b, "www.example.com A")
	q.SetEdns0(maxUDP, false)
	f := newForward(q, &query{client: netip.MustParseAddrPort("127.0.0.1:4242")})
	now := time.Now()
	a, err := newAnswer(withA(q, 4), now)
	if err != nil {
		b.Fatal(err)
	}
	s.forwards.ways.at(s.forwards, now)
	s.forwards.cache.put(f.key, a, s.forwards.cache.generation())
	packet, err := q.Pack()
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, len(packet), maxUDP)
	look := s.lookup()
	client := netip.MustParseAddr("127.0.0.1")
	b.ReportAllocs()
	for b.Loop() {
		copy(buf[:len(packet)], packet)
		if s.quick(look, buf[:len(packet)], client, client) != 0 || s.forwards.quick(buf[:len(packet)], &look.plain, now) == 0 {
			b.Fatal("it is not kept")
		}
	}
}

// manyNames are n containers in a /8.
func manyNames(n int) []Host {
	pool := netip.MustParsePrefix("10.0.0.0/8")
	list := make([]Host, n)
	for i := range list {
		a := i + 2
		list[i] = Host{
			Name: "svc-" + strconv.Itoa(i), Network: "internal", Pool: pool,
			Addr: netip.AddrFrom4([4]byte{10, byte(a >> 16), byte(a >> 8), byte(a)}),
		}
	}
	return list
}

// writeQueries writes dnsperf's input, one line per name.
func writeQueries(b *testing.B, dir string, names []Host, query func(int, Host) string) string {
	b.Helper()
	var out bytes.Buffer
	for i := range names {
		// A stride that is prime to every count here, so that neighbours in
		// the file are no neighbours in a table.
		fmt.Fprintln(&out, query(i, names[i*7919%len(names)]))
	}
	return writeFile(b, dir, "queries", out.Bytes())
}

// forwardQuery asks for an address; of ten queries one is for a name that
// nobody bears and one for a family that the name does not have.
func forwardQuery(i int, h Host) string {
	switch i % 10 {
	case 8:
		return h.Name + ".dockstack AAAA"
	case 9:
		return "gone-" + strconv.Itoa(i) + ".dockstack A"
	}
	return h.Name + ".dockstack A"
}

func reverseQuery(_ int, h Host) string {
	reverse, err := dns.ReverseAddr(h.Addr.String())
	if err != nil {
		panic(err)
	}
	return reverse + " PTR"
}

var (
	perSecond = regexp.MustCompile(`Queries per second:\s+([0-9.]+)`)
	completed = regexp.MustCompile(`Queries completed:\s+(\d+)`)
	lost      = regexp.MustCompile(`Queries lost:\s+(\d+)`)
)

// dnsperf returns the queries per second that server answers, and the
// microseconds of processor time that its process pid took for each.
func dnsperf(tb testing.TB, server netip.AddrPort, data string, pid int) (qps, cost float64) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	before := processorTime(tb, pid)
	out, err := exec.CommandContext(ctx, need(tb, "dnsperf"), "-s", server.Addr().String(),
		"-p", strconv.Itoa(int(server.Port())), "-d", data, "-l", strconv.Itoa(benchSeconds), "-c", "8").CombinedOutput()
	spent := processorTime(tb, pid) - before
	if err != nil {
		tb.Fatalf("dnsperf: %v\n%s", err, out)
	}
	number := func(what *regexp.Regexp) float64 {
		m := what.FindSubmatch(out)
		if m == nil {
			tb.Fatalf("dnsperf does not say %s:\n%s", what, out)
		}
		n, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			tb.Fatal(err)
		}
		return n
	}
	if n := number(lost); n > 0 {
		tb.Logf("%s lost %.0f queries", server, n)
	}
	return number(perSecond), float64(spent.Microseconds()) / number(completed)
}

// processorTime is what the process pid has had of the processor.
func processorTime(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	// Fields 14 and 15, counted behind the command in brackets, in ticks of
	// 10 ms.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
