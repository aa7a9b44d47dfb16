package fabric

import (
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestAliasRemembersAnEndpoint(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	ep := Endpoint{
		ID: id, Network: id, MAC: net.HardwareAddr{2, 0x42, 10, 0, 0, 2},
		Addrs: []netip.Addr{netip.MustParseAddr("192.168.100.200"), netip.MustParseAddr("fd00:1111:2222:3333:4444:5555:6666:7777")},
	}
	alias := endpointAlias(ep, 1<<24-1)
	if len(alias) > 255 {
		t.Fatalf("%d bytes: the kernel takes 255", len(alias))
	}
	got, vni, ours, err := parseAlias(alias)
	if err != nil || !ours || vni != 1<<24-1 || !reflect.DeepEqual(got, ep) {
		t.Errorf("%v %d %v: %+v", ours, vni, err, got)
	}
}

func FuzzParseAlias(f *testing.F) {
	f.Add("dockstack:1:endpoint a b 7 02:42:0a:00:00:02 10.0.0.2,fd00::2")
	f.Add("dockstack:1:gateway a")
	f.Add("dockstack:1:endpoint a b 7 02:42 ::1%eth0")
	f.Add("")
	f.Fuzz(func(t *testing.T, alias string) {
		ep, vni, ours, err := parseAlias(alias)
		if !ours || err != nil {
			return
		}
		again, v, _, err := parseAlias(endpointAlias(ep, vni))
		if err != nil || v != vni || !reflect.DeepEqual(again, ep) {
			t.Errorf("%q: %+v, then %+v (%v)", alias, ep, again, err)
		}
	})
}
