package etcdtest

import (
	"bufio"
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var handled = regexp.MustCompile(`^grpc_server_started_total\{grpc_method="(\w+)",grpc_service="etcdserverpb\.(\w+)",grpc_type="\w+"\} ([0-9.e+]+)$`)

// Requests is how many calls each gRPC method has had, at all members that
// run, as etcd itself counts: "KV/Txn", "KV/Range", "Watch/Watch",
// "Lease/LeaseKeepAlive" and so on.
func (c *Cluster) Requests() map[string]int {
	c.tb.Helper()
	out := map[string]int{}
	for _, m := range c.members {
		if m.running() {
			c.requests(m, out)
		}
	}
	return out
}

func (c *Cluster) requests(m *member, into map[string]int) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tr := &http.Transport{DisableKeepAlives: true}
	if c.certs != nil {
		tr.TLSClientConfig = c.certs.clientConfig()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url()+"/metrics", http.NoBody)
	if err != nil {
		c.tb.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		c.tb.Fatalf("etcd's metrics: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		f := handled.FindStringSubmatch(strings.TrimSpace(lines.Text()))
		if f == nil {
			continue
		}
		n, err := strconv.ParseFloat(f[3], 64)
		if err != nil {
			c.tb.Fatalf("etcd's metrics: %v", err)
		}
		into[f[2]+"/"+f[1]] += int(n)
	}
	if err := lines.Err(); err != nil {
		c.tb.Fatalf("etcd's metrics: %v", err)
	}
}
