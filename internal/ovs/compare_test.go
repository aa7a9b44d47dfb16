package ovs_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/link"
	"github.com/dockstack/dockstack/internal/ovs"
	"github.com/dockstack/dockstack/internal/ovs/ovstest"
)

// What somebody does to the bridge behind our back shows in a comparison, and is
// mended by Resync.
func TestCompareAndResync(t *testing.T) {
	if !apart(t) {
		return
	}
	h := newHostAuditing(t, fabric.TunnelKernel, time.Hour)
	h.begin()
	if d := h.compare(); len(d.Missing)+len(d.Extra) > 0 {
		t.Fatalf("a bridge as it should be differs: %+v", d)
	}
	h.ofctl("add-flow", "cookie=0xd500000000000007,table=77,priority=3,ip,nw_src=10.9.9.9,actions=drop")
	h.ofctl("add-flow", "cookie=0x1,table=78,priority=3,ip,nw_src=10.9.9.9,actions=drop")
	h.ofctl("del-flows", "table=30")
	h.ofctl("mod-flows", "table=20,arp,arp_tpa=10.0.0.1,actions=drop")
	d := h.compare()
	if !slices.ContainsFunc(d.Extra, func(f ovs.FlowText) bool {
		return strings.HasSuffix(f.Text, "actions=drop") && strings.Contains(f.Text, "table=20")
	}) {
		t.Errorf("a flow whose actions were changed is not among %+v", d.Extra)
	}
	changed := func(f ovs.FlowText) bool { return strings.HasPrefix(f.Text, "table=20") }
	d.Missing, d.Extra = slices.DeleteFunc(d.Missing, changed), slices.DeleteFunc(d.Extra, changed)
	if len(d.Missing) == 0 || !strings.Contains(d.Missing[0].Text, "table=30") || !fabric.NearFlows.Has(d.Missing[0].Cookie) {
		t.Errorf("missing: %+v", d.Missing)
	}
	if len(d.Extra) != 2 || !fabric.NearFlows.Has(d.Extra[0].Cookie) || d.Extra[1].Cookie != 1 || !strings.Contains(d.Extra[1].Text, "nw_src=10.9.9.9") {
		t.Errorf("extra: %+v", d.Extra)
	}

	// A port and a link of ours that nobody has.
	links, err := link.Open(ovstest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	defer links.Close()
	mac := macOf(h.fab.Endpoints()[0].Addrs[0])
	if err := links.AddVeth(t.Context(), fabric.VethSpec{Host: "dse00000000001", Peer: "c-ds0000000001", PeerMAC: mac, Alias: "dockstack:1:vxlan 77", MTU: 1400, Offloads: fabric.OffloadAll}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.sw.ChangePorts(t.Context(), nil, []fabric.PortSpec{{Name: "dse00000000001", Number: 77, Facts: map[string]string{"owner": "dockstack", "dockstack-endpoint": "x"}}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), ovstest.Scale(10*time.Second))
	defer cancel()
	if err := h.fab.Resync(ctx); err != nil {
		t.Fatal(err)
	}
	if d := h.compare(); len(d.Missing) > 0 || len(d.Extra) != 1 || d.Extra[0].Cookie != 1 {
		t.Errorf("after a resync: %+v; only somebody else's flow may differ", d)
	}
	ports, err := h.sw.Ports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, err := h.fab.Wanted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ports {
		if w.Ports[p.Name] == "" {
			t.Errorf("port %+v is left", p)
		}
	}
	if len(w.Gateways) != 1 || len(w.Ports) != len(ports) {
		t.Errorf("wanted %+v; ports %+v", w, ports)
	}
}

func (h *host) compare() ovs.Difference {
	h.Helper()
	w, err := h.fab.Wanted(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	d, err := h.sw.Compare(h.Context(), w.Flows)
	if err != nil {
		h.Fatal(err)
	}
	return d
}

func (h *host) ofctl(verb, flow string) {
	h.Helper()
	if out, err := h.cfg.Run(h.Context(), "ovs-ofctl", "-OOpenFlow15", verb, "dockstack0", flow); err != nil {
		h.Fatalf("%s %s: %v: %s", verb, flow, err, out)
	}
}
