package link

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
)

// TestOffloads asks ethtool, after the move into the container, what is on.
func TestOffloads(t *testing.T) {
	type states map[string]string
	for mode, want := range map[fabric.Offloads]states{
		fabric.OffloadAll: {"tx-checksum-ip-generic": "on", "tx-tcp-segmentation": "on", "tx-tcp6-segmentation": "on", "tx-udp-segmentation": "on", "tx-checksum-sctp": "on"},
		fabric.OffloadTCP: {
			"tx-checksum-ip-generic": "on", "tx-tcp-segmentation": "on", "tx-tcp6-segmentation": "on", "tx-udp-segmentation": "off",
			"tx-sctp-segmentation": "off", "tx-checksum-sctp": "off", "tx-gre-segmentation": "off", "tx-udp_tnl-csum-segmentation": "off", "tx-gso-list": "off",
		},
		fabric.OffloadNone: {"tx-checksum-ip-generic": "off", "tx-tcp-segmentation": "off", "tx-tcp6-segmentation": "off", "tx-udp-segmentation": "off", "tx-checksum-sctp": "off"},
	} {
		t.Run(string(mode), func(t *testing.T) {
			host, box := newSpace(t), newSpace(t)
			s := spec("dsv1", "dsc1")
			s.Offloads = mode
			must(t, host.manager(t).AddVeth(t.Context(), s))
			box.take(t, host, "dsc1", "eth0")
			got := ethtool(t, box, "eth0")
			for name, state := range want {
				if got[name] != state {
					t.Errorf("%s is %q, want %s", name, got[name], state)
				}
			}
		})
	}
}

// ethtool returns what `ethtool -k` says; without the tool, as in a virtual
// machine of a few files, what the package under test reads.
func ethtool(t *testing.T, s *space, dev string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if _, err := exec.LookPath("ethtool"); err != nil {
		s.in(t, func() error { return ownView(dev, out) })
		return out
	}
	var text []byte
	s.in(t, func() (err error) {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		text, err = exec.CommandContext(ctx, "ethtool", "-k", dev).Output()
		return err
	})
	for line := range strings.Lines(string(text)) {
		name, state, _ := strings.Cut(strings.TrimSpace(line), ": ")
		out[name], _, _ = strings.Cut(state, " ")
	}
	return out
}

func ownView(dev string, out map[string]string) error {
	f, err := openFeatures()
	if err != nil {
		return err
	}
	defer f.close()
	names, err := f.names(dev)
	if err != nil {
		return err
	}
	active, err := f.active(dev, len(names))
	if err != nil {
		return err
	}
	for i, n := range names {
		out[n] = map[bool]string{true: "on", false: "off"}[active(i)]
	}
	return nil
}

func TestWhatOffloadsForbid(t *testing.T) {
	for name, tc := range map[string]struct {
		feature        string
		tcp, none, all bool
	}{
		"TCP in segments":               {feature: "tx-tcp-segmentation", none: true},
		"TCP over IPv6 in segments":     {feature: "tx-tcp6-segmentation", none: true},
		"TCP with ECN in segments":      {feature: "tx-tcp-ecn-segmentation", none: true},
		"the IP checksum":               {feature: "tx-checksum-ip-generic", none: true},
		"QUIC's datagrams in segments":  {feature: "tx-udp-segmentation", tcp: true, none: true},
		"SCTP's checksum":               {feature: "tx-checksum-sctp", tcp: true, none: true},
		"UDP fragments of old kernels":  {feature: "tx-udp-fragmentation", tcp: true, none: true},
		"a kind that is yet to come":    {feature: "tx-newproto-segmentation", tcp: true, none: true},
		"segments in tunnels":           {feature: "tx-udp_tnl-segmentation", tcp: true, none: true},
		"scattered memory":              {feature: "tx-scatter-gather"},
		"what concerns receiving":       {feature: "rx-gro-list"},
		"a place without a name":        {feature: ""},
		"a VLAN tag beside the packet":  {feature: "tx-vlan-hw-insert"},
		"lists of packets as one":       {feature: "tx-gso-list", tcp: true, none: true},
		"segments with a shared header": {feature: "tx-gso-partial", tcp: true, none: true},
	} {
		t.Run(name, func(t *testing.T) {
			for mode, want := range map[fabric.Offloads]bool{fabric.OffloadAll: tc.all, fabric.OffloadTCP: tc.tcp, fabric.OffloadNone: tc.none} {
				off, err := toTurnOff([]string{"other", tc.feature}, mode)
				must(t, err)
				if (len(off) == 1) != want {
					t.Errorf("%s forbids %q: %v, want %v", mode, tc.feature, len(off) == 1, want)
				}
			}
		})
	}
}
