package e2e

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// inNet calls do in the lab host's network.
func (h *host) inNet(do func()) {
	h.t.Helper()
	h.inNamespace(h.Path("/proc/1/ns/net"), do)
}

// outside calls do in the underlay's network: what the host's neighbours see.
func (h *host) outside(do func()) {
	h.t.Helper()
	h.inNamespace(h.Lab().UnderlayNet(), do)
}

func (h *host) inNamespace(path string, do func()) {
	h.t.Helper()
	ns, err := os.Open(path)
	h.check(err)
	defer func() { _ = ns.Close() }()
	failed := make(chan error, 1)
	go func() {
		// The thread is not given back, so it ends with the goroutine.
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			failed <- err
			return
		}
		do()
		failed <- nil
	}()
	h.check(<-failed)
}

// reachable fails for every address that the host gets no answer from. A
// refused connection is an answer: it comes from the container.
func (h *host) reachable(p picture) {
	h.t.Helper()
	h.inNet(func() {
		for key, a := range p {
			for _, addr := range []string{a.IPv4, a.IPv6} {
				if addr == "" {
					continue
				}
				if err := knock(addr, "9"); err != nil {
					h.t.Errorf("%s at %s: %v", key, addr, err)
				}
			}
		}
	})
}

// knock says why nobody answers at addr. It must run on a thread that is in
// the right network, so it makes its socket there, and waits by hand.
func knock(addr, port string) error {
	for limit := time.Now().Add(time.Minute); ; {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(addr, port), time.Second)
		if err == nil {
			return c.Close()
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if time.Now().After(limit) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// ask sends one question to a server from the host's network. Where no answer
// comes it asks again, as every resolver does.
func (h *host) ask(server, name string, kind uint16) *dns.Msg {
	h.t.Helper()
	var answer *dns.Msg
	var err error
	h.inNet(func() {
		q := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
		for limit := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			answer, _, err = (&dns.Client{Timeout: 3 * time.Second}).Exchange(q, net.JoinHostPort(server, "53"))
			if err == nil || time.Now().After(limit) {
				return
			}
			h.t.Logf("ask %s for %s: %v", server, name, err)
		}
	})
	if err != nil {
		h.t.Errorf("ask %s for %s: %v", server, name, err)
		return new(dns.Msg)
	}
	return answer
}

// addresses are those in an answer.
func addresses(m *dns.Msg) []string {
	var out []string
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			out = append(out, rr.A.String())
		case *dns.AAAA:
			out = append(out, rr.AAAA.String())
		}
	}
	slices.Sort(out)
	return out
}

// hostDNS is where DNS listens on the host by default.
const hostDNS = "127.0.0.153"

// answers compares DNS with a picture: every name's addresses, and each
// address' name.
func (h *host) answers(p picture) {
	h.t.Helper()
	want := map[string][]string{}
	for key, a := range p {
		name, _, _ := strings.Cut(key, " ")
		want[name] = append(want[name], a.IPv4)
		if a.IPv6 != "" {
			want[name] = append(want[name], a.IPv6)
		}
	}
	for name, addrs := range want {
		got := addresses(h.ask(hostDNS, name+".dockstack", dns.TypeA))
		got = append(got, addresses(h.ask(hostDNS, name+".dockstack", dns.TypeAAAA))...)
		slices.Sort(got)
		slices.Sort(addrs)
		if !slices.Equal(got, addrs) {
			h.t.Errorf("DNS says %s is %v, it is %v", name, got, addrs)
		}
		for _, a := range addrs {
			h.reverse(a, name)
		}
	}
}

// reverse fails unless addr's one PTR is the name's, and leads back to addr.
func (h *host) reverse(addr, name string) {
	h.t.Helper()
	arpa, err := dns.ReverseAddr(addr)
	h.check(err)
	m := h.ask(hostDNS, arpa, dns.TypePTR)
	if len(m.Answer) != 1 {
		h.t.Errorf("%s (%s) has PTRs %v, want one", addr, name, m.Answer)
		return
	}
	target := m.Answer[0].(*dns.PTR).Ptr
	kind := dns.TypeA
	if netip.MustParseAddr(addr).Is6() {
		kind = dns.TypeAAAA
	}
	if back := addresses(h.ask(hostDNS, target, kind)); !slices.Contains(back, addr) {
		h.t.Errorf("PTR of %s (%s) is %s, which is %v", addr, name, target, back)
	}
	if want := strings.ReplaceAll(strings.ToLower(name), "_", "-") + ".dockstack."; target != want {
		h.t.Errorf("PTR of %s is %s, want %s", addr, target, want)
	}
}

// underlay runs one of the machine's programs in the underlay's network.
func (h *host) underlay(args ...string) (string, error) {
	out, err := exec.CommandContext(h.ctx(), "nsenter", append([]string{"--net=" + h.Lab().UnderlayNet()}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// inUnderlay is underlay where an error ends the test.
func (h *host) inUnderlay(args ...string) string {
	h.t.Helper()
	out, err := h.underlay(args...)
	if err != nil {
		h.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}
