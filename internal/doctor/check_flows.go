package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/ovs"
)

// mostFlows is how many flows are compared one by one: as text they take some
// 200 bytes each.
const mostFlows = 50_000

func (x *exam) flows(ctx context.Context) error {
	if err := x.up(); err != nil {
		return err
	}
	want, err := x.Fabric.Wanted(ctx)
	if err != nil {
		return err
	}
	if want.Flows == nil {
		return errors.New("the switch is just being filled")
	}
	if want.FarFlows > mostFlows {
		return fmt.Errorf("%d flows are too many to compare one by one; their number is right, or dockstack puts them back by itself", want.FarFlows)
	}
	d, err := x.Switch.Compare(ctx, want.Flows)
	if err != nil {
		return err
	}
	var stale, foreign []ovs.FlowText
	for _, f := range d.Extra {
		switch {
		case fabric.NearFlows.Has(f.Cookie):
			stale = append(stale, f)
		case fabric.FarFlows.Has(f.Cookie), f.Cookie&fabric.CookieMask == fabric.CookieLearned:
		default:
			foreign = append(foreign, f)
		}
	}
	bridge, _ := x.Switch.Bridge()
	x.addFlows("stale-flow", stale, "flow on the bridge "+bridge+" is not wanted")
	x.addFlows("missing-flow", d.Missing, "flow is missing on the bridge "+bridge)
	x.addForeign(foreign, want.Flows)
	return nil
}

// addForeign names flows that somebody added. One that outranks ours takes frames
// from them.
func (x *exam) addForeign(flows []ovs.FlowText, ours []fabric.Flow) {
	if len(flows) == 0 {
		return
	}
	lowest := map[int]int{}
	for _, f := range ours {
		if p, known := lowest[f.Table]; !known || f.Priority < p {
			lowest[f.Table] = f.Priority
		}
	}
	takes := func(f ovs.FlowText) bool {
		p, known := lowest[f.Table]
		return known && f.Priority >= p
	}
	slices.SortStableFunc(flows, func(a, b ovs.FlowText) int {
		return cmp.Or(compareBool(takes(b), takes(a)), cmp.Compare(a.Table, b.Table), -cmp.Compare(a.Priority, b.Priority))
	})
	bridge, socket := x.Switch.Bridge()
	f := flowsFinding("foreign-flow", flows, "flow on the bridge "+bridge+" is not dockstack's")
	if takes(flows[0]) {
		f.Severity = Error
		f.Why = "somebody added it to dockstack's bridge, and it outranks dockstack's: frames that it matches are lost, or get where they must not"
	}
	var commands []string
	for _, flow := range flows {
		c := x.atSwitch("ovs-ofctl -OOpenFlow15 del-flows unix:", strings.TrimSuffix(socket, "db.sock")+bridge+".mgmt", fmt.Sprintf(" cookie=%#x/-1", flow.Cookie))
		if !slices.Contains(commands, c) && len(commands) < mostCommands {
			commands = append(commands, c)
		}
	}
	f.Command = strings.Join(commands, " && ")
	x.add(f)
}

// mostCommands is how many stand in one line; what is left is found again.
const mostCommands = 4

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// addFlows makes one finding of many flows, since one cause makes many.
func (x *exam) addFlows(id string, flows []ovs.FlowText, what string) {
	if len(flows) > 0 {
		x.add(flowsFinding(id, flows, what))
	}
}

func flowsFinding(id string, flows []ovs.FlowText, what string) Finding {
	text := "a " + what
	if len(flows) > 1 {
		text = fmt.Sprintf("%d times: a %s", len(flows), what)
	}
	return Finding{ID: id, What: text + ": " + short(flows[0].Text)}
}

// short cuts what is too long for a line.
func short(text string) string {
	const most = 160
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}
