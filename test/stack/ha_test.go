package stack

import (
	"encoding/csv"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// failover is how long the API may be gone from the virtual address when its holder is.
const failover = 4 * time.Second

// ha is HAProxy and keepalived on the first two hosts, replicas of Keystone on the first, and on the third, which nothing
// happens to, another replica, the database and a client.
type ha struct {
	*Stack
	t   *testing.T
	vip string
	// other is the address of the replica on the third host.
	other string
	// first and second are what runs on the first two hosts.
	first, second Group
	// polls asks at the virtual address, and control the third host's replica itself: what that one lacks is the
	// machine's.
	polls, control *poller
}

const (
	vipName = "vip1"
	proxy   = "openstack-haproxy-server-1"
	holding = "openstack-haproxy-keepalived-1"
)

func newHA(t *testing.T) *ha {
	t.Helper()
	a := &ha{
		Stack: ForTest(t, Options{Hosts: 3, Bare: true}), t: t,
		first:  Group{Files: []string{"keystone", "ha", "scale"}},
		second: Group{Files: []string{"ha"}, Env: []string{"HAPROXY_NAME=haproxy2"}},
	}
	ctx := t.Context()
	a.must(a.Each(func(h *lab.Host) error {
		return a.CreateNetwork(ctx, h, Network, "--subnet", Subnet, "-o", "dockstack.vip="+vipName)
	}))
	a.must(a.Up(ctx, a.Hosts[2], []string{"database"}, "mariadb", "memcached"))
	a.must(a.StartClient(ctx, a.Hosts[2]))
	a.must(a.Up(ctx, a.Hosts[0], a.first.Files))
	a.must(a.with(a.second.Env).Up(ctx, a.Hosts[1], a.second.Files))
	// Names are one for all hosts, so the replica on another host belongs to another project.
	a.must(a.with([]string{"COMPOSE_PROJECT_NAME=second"}).Up(ctx, a.Hosts[2], []string{"keystone"}))

	out, err := a.InClient(ctx, "getent ahostsv4 "+vipName+" | awk '{print $1; exit}'")
	a.must(err)
	if addr, err := netip.ParseAddr(out); err != nil || !netip.MustParsePrefix(Subnet).Contains(addr) {
		t.Fatalf("%s is %q: %v", vipName, out, err)
	}
	a.vip = out
	a.polls = poll(t, a.Hosts[2], Client, "http://"+a.vip+":5000/v3", 0)
	a.other = a.docker(a.Hosts[2], "inspect", "-f", `{{(index .NetworkSettings.Networks "internal").IPAddress}}`, "second-keystone-1")
	a.control = poll(t, a.Hosts[2], Client, "http://"+a.other+":5000/v3", 0)
	a.polls.steady(a.control, 3*time.Minute)
	return a
}

func (a *ha) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *ha) docker(h *lab.Host, args ...string) string {
	a.t.Helper()
	out, err := h.Docker(a.t.Context(), args...)
	a.must(err)
	return strings.TrimSpace(out)
}

// holder is the host, 0 or 1, that has the virtual address by its keepalived's word and in its namespace.
func (a *ha) holder() int {
	a.t.Helper()
	var wrong []string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		var has []int
		wrong = nil
		for i, h := range a.Hosts[:2] {
			state, err := h.Docker(a.t.Context(), "exec", holding, "sh", "-c", "cat /run/keepalived.state; ip -4 -o addr")
			if err != nil || !strings.HasPrefix(state, "MASTER") || !strings.Contains(state, " "+a.vip+"/32 ") {
				wrong = append(wrong, fmt.Sprintf("%s: %v %s", h.Name, err, state))
				continue
			}
			has = append(has, i)
		}
		if len(has) == 1 {
			return has[0]
		}
		wrong = append(wrong, fmt.Sprintf("%d have it", len(has)))
	}
	a.t.Fatalf("not one host has %s: %q", vipName, wrong)
	return -1
}

// all lists the containers of the group on a host, its owner first.
func (a *ha) all(host int) []string { return []string{fmt.Sprint("haproxy", host+1), proxy, holding} }

func TestHAProxyAndKeepalived(t *testing.T) {
	Full(t)
	a := newHA(t)
	before, err := a.Picture(t.Context())
	a.must(err)
	if _, err := a.InClient(t.Context(), "OS_AUTH_URL=http://"+vipName+":5000/v3 openstack token issue"); err != nil {
		t.Fatal(err)
	}
	t.Run("scaling", func(t *testing.T) { a.withTest(t).scaling() })
	t.Run("failover", func(t *testing.T) { a.withTest(t).failover() })
	a.Same(t, "at the end", before)
	out, err := a.InClient(t.Context(), "getent ahostsv4 "+vipName+" | awk '{print $1; exit}'")
	if err != nil || out != a.vip {
		t.Errorf("%s is %q at the end (%v), and was %s", vipName, out, err, a.vip)
	}
}

// withTest is the same as a subtest sees it.
func (a *ha) withTest(t *testing.T) *ha {
	t.Helper()
	sub := *a
	sub.t = t
	return &sub
}

func (a *ha) failover() {
	const rounds = 3
	gaps := map[string][]time.Duration{}
	ways := []struct {
		what       string
		fall, rise func(host int)
	}{
		{
			"HAProxy killed",
			func(host int) { a.docker(a.Hosts[host], "kill", proxy) },
			func(host int) { a.docker(a.Hosts[host], "start", proxy) },
		},
		{
			"keepalived killed",
			func(host int) { a.docker(a.Hosts[host], "kill", holding) },
			func(host int) { a.docker(a.Hosts[host], "start", holding) },
		},
		{
			"the group killed",
			func(host int) { a.docker(a.Hosts[host], append([]string{"kill"}, a.all(host)...)...) },
			func(host int) { a.docker(a.Hosts[host], append([]string{"start"}, a.all(host)...)...) },
		},
		{
			"the host powered off",
			func(host int) { a.must(a.Hosts[host].PowerOff(a.t.Context())) },
			func(host int) { a.must(a.Hosts[host].PowerOn(a.t.Context())) },
		},
	}
	for _, way := range ways {
		for range rounds {
			host := a.holder()
			a.polls.since()
			a.control.since()
			way.fall(host)
			time.Sleep(failover + 3*time.Second)
			gap, failed := a.polls.gap()
			slow, _ := a.control.gap()
			gaps[way.what] = append(gaps[way.what], gap)
			a.t.Logf("%s on %s: no answer for %.2f s, without anything between for %.2f s", way.what, a.Hosts[host].Name, gap.Seconds(), slow.Seconds())
			if gap > failover+slow {
				a.t.Errorf("%s on %s: no answer at %s for %.2f s; failed: %q", way.what, a.Hosts[host].Name, vipName, gap.Seconds(), failed)
			}
			way.rise(host)
			a.must(a.Healthy(a.t.Context(), 5*time.Minute))
			a.polls.steady(a.control, 3*time.Minute)
		}
		all := slices.Sorted(slices.Values(gaps[way.what]))
		a.t.Logf("%s, %d times: without an answer for %.2f s at least, %.2f s in the middle, %.2f s at most",
			way.what, len(all), all[0].Seconds(), all[len(all)/2].Seconds(), all[len(all)-1].Seconds())
	}
}

// scaling changes the number of Keystone's replicas on the first host, while a client asks the HAProxy there.
func (a *ha) scaling() {
	ctx := a.t.Context()
	a.servers("at first", 2)
	own := a.docker(a.Hosts[0], "inspect", "-f", `{{(index .NetworkSettings.Networks "internal").IPAddress}}`, "haproxy1")
	client := poll(a.t, a.Hosts[2], Client, "http://"+own+":5000/v3", 2)
	client.steady(a.control, 3*time.Minute)
	client.since()
	a.control.since()
	for _, n := range []int{3, 1, 3, 1} {
		began := time.Now()
		a.must(a.Up(ctx, a.Hosts[0], a.first.Files, "--no-recreate", "--scale", fmt.Sprint("keystone=", n)))
		up := time.Now()
		a.servers(fmt.Sprintf("scaled to %d", n), n+1)
		a.t.Logf("keystone=%d: well after %.1f s, and known to both HAProxies %.1f s later", n, up.Sub(began).Seconds(), time.Since(up).Seconds())
	}
	time.Sleep(time.Second)
	gap, failed := client.gap()
	slow, alone := a.control.gap()
	for _, f := range failed[min(len(alone), len(failed)):] {
		a.t.Errorf("a request was lost, and none at a replica that nothing happens to: %s", f)
	}
	a.t.Logf("no answer for %.2f s at most meanwhile, %.2f s without anything between; lost %d and %d", gap.Seconds(), slow.Seconds(), len(failed), len(alone))
	for _, s := range a.up(0) {
		if strings.HasPrefix(s.addr, a.other+":") && s.sessions == "0" {
			a.t.Errorf("the HAProxy of the first host asks nothing of the replica on the third, %s", a.other)
		}
	}
}

// server is a line of HAProxy's statistics.
type server struct{ addr, sessions string }

// up are the replicas of Keystone that a host's HAProxy knows to be well.
func (a *ha) up(host int) []server {
	a.t.Helper()
	text := a.docker(a.Hosts[host], "exec", proxy, "curl", "-sSf", "http://127.0.0.1:888/;csv")
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# "))).ReadAll()
	a.must(err)
	col := map[string]int{}
	for i, name := range rows[0] {
		col[name] = i
	}
	var out []server
	for _, row := range rows[1:] {
		if row[col["pxname"]] == "keystone-5000" && strings.HasPrefix(row[col["svname"]], "keystone-") && strings.HasPrefix(row[col["status"]], "UP") {
			out = append(out, server{row[col["addr"]], row[col["stot"]]})
		}
	}
	return out
}

// servers waits until both HAProxies have that many replicas of Keystone, each with an address of its own.
func (a *ha) servers(what string, want int) {
	a.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		one, two := a.up(0), a.up(1)
		if len(one) == want && len(two) == want {
			return
		}
		if time.Now().After(end) {
			a.t.Fatalf("%s: the HAProxies know %v and %v, want %d each", what, one, two, want)
		}
	}
}
