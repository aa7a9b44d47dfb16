package ovs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	vswitch "github.com/digitalocean/go-openvswitch/ovs"

	"github.com/dockstack/dockstack/internal/fabric"
)

// words are matches or actions as ovs-ofctl writes them; the library takes them
// as they are.
type words string

func (w words) MarshalText() ([]byte, error) { return []byte(w), nil }

// GoString implements vswitch.Match and vswitch.Action.
func (w words) GoString() string { return fmt.Sprintf("words(%q)", string(w)) }

var (
	_ vswitch.Match  = words("")
	_ vswitch.Action = words("")
)

// ChangeFlows implements fabric.Switch: one bundle, so that no frame meets half
// of a change.
func (s *Switch) ChangeFlows(ctx context.Context, change fabric.FlowChange) error {
	ses, err := s.current()
	if err != nil {
		return err
	}
	s.bundles.Lock()
	defer s.bundles.Unlock()
	// The library's bundle knows no strict removal, so those lines go ahead of
	// what it writes.
	var head bytes.Buffer
	for _, w := range change.Wipe {
		fmt.Fprintf(&head, "delete cookie=%#x/%#x\n", w.Value, w.Mask)
	}
	for _, f := range change.Del {
		fmt.Fprintf(&head, "delete_strict table=%d,priority=%d", f.Table, f.Priority)
		if f.Match != "" {
			head.WriteString("," + f.Match)
		}
		head.WriteByte('\n')
	}
	client := ses.ofctl(ctx, bundleSeconds(len(change.Add)+len(change.Del)), &head)
	err = client.OpenFlow.AddFlowBundle(s.cfg.Bridge, func(tx *vswitch.FlowTransaction) error {
		if change.Reset {
			tx.Delete(withCookies(fabric.AllFlows))
		}
		for _, f := range change.Add {
			tx.Add(vswitchFlow(f))
		}
		return tx.Commit()
	})
	if err != nil {
		return fmt.Errorf("%d flows to add, %d to remove: %w", len(change.Add), len(change.Del), err)
	}
	return nil
}

// bundleSeconds is how long a bundle may take: 10,000 flows take 0.3 s on an
// idle machine, and 10 times that on a busy or emulated one.
func bundleSeconds(flows int) int { return 5 + flows/2000 }

func withCookies(c fabric.Cookies) *vswitch.MatchFlow {
	return &vswitch.MatchFlow{Table: vswitch.AnyTable, Cookie: c.Value, CookieMask: c.Mask}
}

func vswitchFlow(f fabric.Flow) *vswitch.Flow {
	flow := &vswitch.Flow{Table: f.Table, Priority: f.Priority, Cookie: f.Cookie, Actions: []vswitch.Action{words(f.Actions)}}
	if f.Match != "" {
		flow.Matches = []vswitch.Match{words(f.Match)}
	}
	return flow
}

// ofctl is a client for one call: its option flags are shared by append, and
// calls at the same time could mix them up. head precedes what it sends.
func (s *session) ofctl(ctx context.Context, seconds int, head io.Reader) *vswitch.Client {
	return vswitch.New(
		vswitch.Timeout(seconds),
		vswitch.Protocols([]string{vswitch.ProtocolOpenFlow15}),
		vswitch.Exec(func(name string, args ...string) ([]byte, error) {
			return s.tools.run(ctx, nil, name, args...)
		}),
		vswitch.Pipe(func(stdin io.Reader, name string, args ...string) ([]byte, error) {
			// Names of tables would be asked of the switch before: 1.3 MB of tables'
			// features, most of the time that a small bundle takes.
			return s.tools.runFor(ctx, time.Duration(seconds+1)*time.Second, io.MultiReader(head, stdin), name, append([]string{"--no-names"}, args...)...)
		}))
}

// FlowCount implements fabric.Switch.
func (s *Switch) FlowCount(ctx context.Context, which fabric.Cookies) (int, error) {
	ses, err := s.current()
	if err != nil {
		return 0, err
	}
	return ses.flowConn.count(ctx, which.Value, which.Mask)
}

// Drops implements fabric.Switch. The library's dump loses fields, so ovs-ofctl
// prints and we read the two that matter.
func (s *Switch) Drops(ctx context.Context, table int) (map[uint64]uint64, error) {
	ses, err := s.current()
	if err != nil {
		return nil, err
	}
	out, err := ses.tools.run(ctx, nil, "ovs-ofctl", commandSeconds, "-OOpenFlow15", "--no-names",
		"dump-flows", s.cfg.Bridge, fmt.Sprintf("table=%d", table))
	if err != nil {
		return nil, err
	}
	return parseDrops(string(out)), nil
}

// parseDrops adds up the packets of flows that drop, by cookie.
func parseDrops(dump string) map[uint64]uint64 {
	drops := map[uint64]uint64{}
	for line := range strings.Lines(dump) {
		line = strings.TrimSpace(line)
		if !strings.HasSuffix(line, " actions=drop") {
			continue
		}
		var cookie, packets uint64
		for field := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ',' || r == ' ' }) {
			switch k, v, _ := strings.Cut(field, "="); k {
			case "cookie":
				_, _ = fmt.Sscanf(v, "0x%x", &cookie)
			case "n_packets":
				_, _ = fmt.Sscanf(v, "%d", &packets)
			}
		}
		drops[cookie] += packets
	}
	return drops
}
