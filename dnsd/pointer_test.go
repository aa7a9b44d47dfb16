package dnsd

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// Whatever name a container has, the name that its address leads to leads
// back to the address, and to it alone.
func TestEveryAddressLeadsThereAndBack(t *testing.T) {
	list := []Host{}
	pool := netip.MustParsePrefix("172.16.0.0/16")
	addr := pool.Addr()
	for _, name := range []string{
		"plain", "my_app", "my-app", "my.app", "MY__APP", "my--app", "a.b.c", "a-b.c", "a-b-c", "_", "x_",
		strings.Repeat("long", 16), strings.Repeat("long", 40), strings.Repeat("long_", 40), "Z-1_2.3",
	} {
		addr = addr.Next()
		list = append(list, Host{Name: name, Network: "internal", Addr: addr, Pool: pool})
	}
	s := newServer(t, Config{}, newTable(list...))
	for _, h := range list {
		reverse, err := dns.ReverseAddr(h.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		_, target, ok := strings.Cut(say(t, s, inside, query1(t, reverse+" PTR")), " PTR ")
		if !ok {
			t.Errorf("%s has no name", h.Name)
			continue
		}
		got := say(t, s, inside, query1(t, target+" A"))
		if want := "NOERROR aa ra | " + target + " 5 A " + h.Addr.String(); got != want {
			t.Errorf("%q is called %s, which gives %s", h.Name, target, got)
		}
	}
}
