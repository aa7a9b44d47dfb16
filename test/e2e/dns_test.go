package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// resolved is what a container's own resolver told it.
type resolved struct {
	Answers []string
	Error   string
	NoName  bool `json:"no_name"`
}

// looks asks from within a container, by its /etc/resolv.conf (127.0.0.11)
// unless a server is named.
func (h *host) looks(container, kind, name string, server ...string) resolved {
	h.t.Helper()
	var r resolved
	h.check(json.Unmarshal([]byte(h.exec(container, append([]string{"resolve", kind, name}, server...)...)), &r))
	return r
}

// finds fails unless a container is told exactly these answers; none means
// that it is told there is none, which is not the same as no answer.
func (h *host) finds(container, kind, name string, want ...string) {
	h.t.Helper()
	got := h.looks(container, kind, name)
	slices.Sort(want)
	if len(want) == 0 {
		if !got.NoName || len(got.Answers) > 0 {
			h.t.Errorf("%s asks for %s %s: %+v, want that there is none", container, kind, name, got)
		}
		return
	}
	if got.Error != "" || !slices.Equal(got.Answers, want) {
		h.t.Errorf("%s asks for %s %s: %+v, want %v", container, kind, name, got, want)
	}
}

// hostResolvers sets the host's resolv.conf for one test.
func (h *host) hostResolvers(addrs ...string) {
	h.t.Helper()
	h.check(h.SetResolvers(addrs...))
	h.t.Cleanup(func() { h.check(h.SetResolvers(h.Lab().UnderlayAddr())) })
}

// upstreamDNS is a resolver of the outside world on the host's loopback: it
// knows example.org, and nothing else.
const upstreamDNS = "127.0.0.54"

// upstreamResolver starts it.
func (h *host) upstreamResolver() {
	h.t.Helper()
	answer := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if name := q.Question[0].Name; !strings.EqualFold(name, "example.org.") {
			m.Rcode = dns.RcodeNameError
		} else if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(198, 51, 100, 7),
			}}
		}
		_ = w.WriteMsg(m)
	}
	where := net.JoinHostPort(upstreamDNS, "53")
	var udp net.PacketConn
	var tcp net.Listener
	var err, err2 error
	h.inNet(func() {
		udp, err = net.ListenPacket("udp", where)
		tcp, err2 = net.Listen("tcp", where)
	})
	h.check(err)
	h.check(err2)
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: dns.HandlerFunc(answer)}, {Listener: tcp, Handler: dns.HandlerFunc(answer)}} {
		go func() { _ = s.ActivateAndServe() }()
	}
	h.t.Cleanup(func() { _, _ = udp.Close(), tcp.Close() })
}

// TestDNSInContainers: with dockstack in the host's resolv.conf, programs in
// containers find each other across networks, and the outside world.
func TestDNSInContainers(t *testing.T) {
	h := newHost(t)
	h.upstreamResolver()
	h.hostResolvers(hostDNS, upstreamDNS)
	h.networks()
	h.run("asker", "internal")
	h.run("near", "internal")
	h.run("far", "ext")
	h.run("Far_Two", "ext")
	near, far, two := h.ipv4("near", "internal").String(), h.ipv4("far", "ext").String(), h.ipv4("Far_Two", "ext").String()
	for _, c := range []struct {
		kind, name string
		want       []string
	}{
		{"A", "near", []string{near}},
		{"A", "near.internal", []string{near}},
		{"A", "near.dockstack", []string{near}},
		{"A", "near.internal.dockstack", []string{near}},
		{"A", "far", []string{far}},
		{"A", "far.ext", []string{far}},
		{"A", "far.dockstack", []string{far}},
		{"A", "FAR.Ext.DockStack", []string{far}},
		{"AAAA", "far.dockstack", []string{h.ipv6("far", "ext").String()}},
		{"AAAA", "near.dockstack", nil},
		{"A", "far-two.dockstack", []string{two}},
		{"A", "far_two.dockstack", []string{two}},
		{"PTR", far, []string{"far.dockstack."}},
		{"PTR", h.ipv6("far", "ext").String(), []string{"far.dockstack."}},
		{"PTR", two, []string{"far-two.dockstack."}},
		{"A", "nobody", nil},
		{"A", "nobody.dockstack", nil},
		{"A", "example.org", []string{"198.51.100.7"}},
		{"AAAA", "example.org", nil},
		{"A", "nobody.example.org", nil},
	} {
		h.finds("asker", c.kind, c.name, c.want...)
	}

	// NODATA and NXDOMAIN, which a program's resolver shows as one.
	for _, c := range []struct {
		name  string
		kind  uint16
		rcode int
	}{
		{"near.dockstack", dns.TypeAAAA, dns.RcodeSuccess},
		{"nobody.dockstack", dns.TypeAAAA, dns.RcodeNameError},
	} {
		m := h.ask(hostDNS, c.name, c.kind)
		if m.Rcode != c.rcode || len(m.Answer) != 0 || len(m.Ns) != 1 || m.Ns[0].Header().Rrtype != dns.TypeSOA || !m.Authoritative {
			t.Errorf("%s: want %s with the zone's SOA, got %v", c.name, dns.RcodeToString[c.rcode], m)
		}
	}

	// A name ends with its container, and comes back with it.
	h.stop("far")
	h.finds("asker", "A", "far.dockstack")
	h.docker("start", "far")
	h.finds("asker", "A", "far.dockstack", far)
	h.remove("far")
	h.finds("asker", "A", "far.dockstack")
	h.finds("asker", "PTR", far)
}

// TestDNSAtTheGateway: a container without a way out asks the gateway's
// address, of its own network, and is served; another network's is not its.
func TestDNSAtTheGateway(t *testing.T) {
	h := newHost(t)
	h.upstreamResolver()
	h.hostResolvers(upstreamDNS)
	h.networks()
	h.create("inner", "--internal", "--subnet", "172.30.9.0/24")
	gw := h.gateways("inner")[0].String()
	h.run("asker", "inner", "--dns", gw)
	h.run("far", "ext")
	h.finds("asker", "A", "far.dockstack", h.ipv4("far", "ext").String())
	h.finds("asker", "PTR", h.ipv4("far", "ext").String(), "far.dockstack.")
	h.finds("asker", "A", "example.org", "198.51.100.7")

	// Straight to port 53, without Docker's resolver between.
	if got := h.looks("asker", "A", "far.dockstack", gw); !slices.Equal(got.Answers, []string{h.ipv4("far", "ext").String()}) {
		t.Errorf("%s says far is %+v", gw, got)
	}
	other := h.gateways("ext")[0].String()
	if got := h.looks("asker", "A", "example.org", other); got.Error == "" {
		t.Errorf("a container of inner is served at ext's gateway %s: %+v", other, got)
	}
	// Another machine that sends its questions here is not served either.
	h.outsideRoute(other)
	for _, server := range []string{other, h.Addr} {
		h.outside(func() {
			q := new(dns.Msg).SetQuestion("example.org.", dns.TypeA)
			m, _, err := (&dns.Client{Timeout: time.Second}).Exchange(q, net.JoinHostPort(server, "53"))
			if err == nil && (m.Rcode != dns.RcodeRefused || len(m.Answer) > 0) {
				t.Errorf("another machine is served at %s: %v", server, m)
			}
		})
	}
}

// outsideRoute leads an address from the underlay to the host.
func (h *host) outsideRoute(addr string) {
	h.t.Helper()
	args := []string{"--net=" + h.Lab().UnderlayNet(), "ip", "route", "add", addr, "via", h.Addr}
	out, err := exec.Command("nsenter", args...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("route to %s: %v: %s", addr, err, out)
	}
	h.t.Cleanup(func() {
		args[3] = "del"
		_ = exec.Command("nsenter", args...).Run()
	})
}

// TestPort53Published: a container may publish port 53 on all addresses, as
// upstream's contrail-control does, and our DNS goes on.
func TestPort53Published(t *testing.T) {
	h := newHost(t)
	h.networks()
	h.docker("run", "-d", "--name", "named", "--hostname", "named", "--network", "internal", "--network", "ext",
		"-p", "53:53", "-p", "53:53/udp", "-e", "PORTS=53", standin)
	h.run("asker", "internal")
	if got, err := h.call("53"); got != "named" {
		t.Errorf("port 53 of the host says %q, %v; want named", got, err)
	}
	h.answers(h.picture("internal", "ext"))
	gw := h.gateways("internal")[0].String()
	if got := h.looks("asker", "A", "named.internal", gw); !slices.Equal(got.Answers, []string{h.ipv4("named", "internal").String()}) {
		t.Errorf("%s says named is %+v", gw, got)
	}
}

// TestDNSSettings: another zone, another address, and resolvers of its own.
func TestDNSSettings(t *testing.T) {
	h := newHost(t)
	h.upstreamResolver()
	h.networks()
	h.run("web", "internal")
	h.set("DOCKSTACK_ZONE=endor.lab", "DOCKSTACK_DNS=127.0.0.99", "DOCKSTACK_FORWARDERS="+upstreamDNS)
	web := h.ipv4("web", "internal")
	var last string
	h.eventually(20*time.Second, func() string {
		var m *dns.Msg
		h.inNet(func() {
			q := new(dns.Msg).SetQuestion("web.endor.lab.", dns.TypeA)
			m, _, _ = (&dns.Client{Timeout: time.Second}).Exchange(q, "127.0.0.99:53")
		})
		if last = fmt.Sprint(m); m == nil || !slices.Equal(addresses(m), []string{web.String()}) {
			return "web.endor.lab is not " + web.String() + " at 127.0.0.99: " + last
		}
		return ""
	})
	for _, c := range []struct {
		name string
		want []string
	}{
		{"web.internal.endor.lab", []string{web.String()}},
		{"web", []string{web.String()}},
		{"nobody.endor.lab", nil},
		{"web.dockstack", nil}, // forwarded, and not known there
		{"example.org", []string{"198.51.100.7"}},
	} {
		if m := h.ask("127.0.0.99", c.name, dns.TypeA); !slices.Equal(addresses(m), c.want) {
			t.Errorf("%s is %v, want %v", c.name, m, c.want)
		}
	}
	arpa, err := dns.ReverseAddr(web.String())
	h.check(err)
	if m := h.ask("127.0.0.99", arpa, dns.TypePTR); len(m.Answer) != 1 || m.Answer[0].(*dns.PTR).Ptr != "web.endor.lab." {
		t.Errorf("%s is %v, want web.endor.lab.", web, m)
	}
	// It kept its flows, and keeps its address.
	h.reachable(h.picture("internal"))
	h.docker("restart", "-t", "1", "web")
	if got := h.ipv4("web", "internal"); got != web {
		t.Errorf("web was %s, is %s", web, got)
	}
}

// TestBadSetting: a setting that can't be understood keeps the plugin up, with
// an error that names it in every answer.
func TestBadSetting(t *testing.T) {
	h := newHost(t)
	h.set("DOCKSTACK_ZONE=..", "DOCKSTACK_SUPERNET=10.0.0.0/30")
	h.refused([]string{"network", "create", "-d", "dockstack", "--ipam-driver", "dockstack", "--subnet", "172.30.0.0/24", "net"},
		`DOCKSTACK_ZONE=".."`, `DOCKSTACK_SUPERNET="10.0.0.0/30"`, "docker plugin set")
}

// set gives the plugin settings for one test.
func (h *host) set(settings ...string) {
	h.t.Helper()
	defaults := map[string]string{}
	for line := range strings.SplitSeq(h.docker("plugin", "inspect", "-f", "{{range .Settings.Env}}{{println .}}{{end}}", pluginName), "\n") {
		if name, _, ok := strings.Cut(line, "="); ok {
			defaults[name] = line
		}
	}
	change := func(settings []string) {
		h.docker("plugin", "disable", "-f", pluginName)
		h.docker(append([]string{"plugin", "set", pluginName}, settings...)...)
		h.docker("plugin", "enable", pluginName)
	}
	change(settings)
	h.t.Cleanup(func() {
		var back []string
		for _, s := range settings {
			name, _, _ := strings.Cut(s, "=")
			back = append(back, defaults[name])
		}
		change(back)
	})
}
