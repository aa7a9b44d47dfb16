package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/link"
)

var dnsChecks = []check{
	{ids: []string{"dns-listener", "no-nat"}, twice: true, run: (*exam).listeners},
	{ids: []string{"dns-redirect"}, twice: true, run: (*exam).redirect},
	{ids: []string{"dns-silent"}, twice: true, run: (*exam).answers},
	{ids: []string{"dns-shadowed"}, run: (*exam).shadowed},
	{ids: []string{"dns-host", "dns-containers", "dns-order"}, run: (*exam).wired},
}

func (x *exam) listeners(context.Context) error {
	direct := false
	for _, l := range x.Server.Listeners() {
		direct = direct || l.Want.Port() == x.DNSPort
		if l.Err != nil {
			x.add(Finding{
				ID: "dns-listener", Subject: l.Want.String(), What: fmt.Sprintf("DNS does not listen on %s: %v", l.Want, l.Err),
				Command: fmt.Sprintf("ss -lnptu 'sport = :%d'   # stop who has it, then dockstack doctor --fix", l.Want.Port()),
			})
		}
	}
	if direct {
		x.add(Finding{ID: "no-nat", What: "the kernel can't redirect ports, so DNS has port 53 itself", Command: "modprobe nft_nat && " + x.restart()})
	}
	return nil
}

// redirected is whether DNS listens on the port that the kernel redirects to.
func (x *exam) redirected() bool {
	return !slices.ContainsFunc(x.Server.Listeners(), func(l dnsd.Listener) bool { return l.Want.Port() == x.DNSPort })
}

func (x *exam) redirect(context.Context) error {
	if !x.redirected() {
		return errElsewhere
	}
	missing, err := x.Kernel.RedirectMissing(link.Redirect{Addrs: x.Server.Asked(), From: x.DNSPort, To: x.DNSBackend})
	if err == nil && missing != "" {
		x.add(Finding{ID: "dns-redirect", What: "port 53 does not lead to dockstack's DNS: " + missing})
	}
	return err
}

// answerWithin is how long our DNS may take for a question about itself, which it
// answers from memory.
const answerWithin = time.Second

// answers asks our DNS as a program on the host does, all the way through the
// kernel.
func (x *exam) answers(ctx context.Context) error {
	for _, a := range x.Server.Asked() {
		if !slices.Contains(x.DNS, a) {
			continue // a gateway answers as soon as a container is on its network
		}
		at := netip.AddrPortFrom(a, x.DNSPort)
		if said := x.askZone(ctx, at); said != "" {
			x.add(Finding{
				ID: "dns-silent", Subject: at.String(), What: fmt.Sprintf("DNS at %s %s", at, said),
				Command: fmt.Sprintf("ss -lnptu 'sport = :%d'; nft list ruleset | grep -n %d", x.DNSPort, x.DNSPort),
			})
		}
	}
	return nil
}

// askZone returns what is wrong with the answer about our zone, "" if nothing.
func (x *exam) askZone(ctx context.Context, at netip.AddrPort) string {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(x.Zone), dns.TypeSOA)
	c := dns.Client{Timeout: answerWithin}
	var err error
	for range 3 {
		var r *dns.Msg
		if r, _, err = c.ExchangeContext(ctx, q, at.String()); err != nil {
			continue
		}
		switch {
		case r.Rcode == dns.RcodeServerFailure:
			return "answers SERVFAIL: the names are not read yet, or the store is closed"
		case r.Rcode != dns.RcodeSuccess || !r.Authoritative:
			return fmt.Sprintf("is somebody else's: it answers %s for the zone %s", dns.RcodeToString[r.Rcode], x.Zone)
		}
		return ""
	}
	return "does not answer: " + err.Error()
}

// shadowed looks for others on port 53 of our addresses. What is asked there
// gets to us, by the redirection.
func (x *exam) shadowed(context.Context) error {
	if !x.redirected() {
		return errElsewhere
	}
	asked := x.Server.Asked()
	for _, protocol := range []string{"udp", "tcp"} {
		bound, err := x.Tunnels.Bound(protocol, x.DNSPort)
		if err != nil {
			return err
		}
		for _, a := range bound {
			if slices.Contains(asked, a) {
				x.add(Finding{
					ID: "dns-shadowed", Subject: protocol + " " + a.String(), What: fmt.Sprintf("another DNS server has port %d of %s (%s)", x.DNSPort, a, protocol),
					Command: fmt.Sprintf("ss -lnp%s 'sport = :%d'", protocol[:1], x.DNSPort),
				})
			}
		}
	}
	return nil
}
