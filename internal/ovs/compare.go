package ovs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
)

// Difference is how the bridge's flows differ from others.
type Difference struct {
	// Missing are not on the bridge, or not so; Extra are on it beside.
	Missing, Extra []FlowText
}

// FlowText is a flow as ovs-ofctl writes it.
type FlowText struct {
	Cookie          uint64
	Table, Priority int
	Text            string
}

// usualPriority is what ovs-ofctl does not write, as table 0.
const usualPriority = 32768

// readFlow reads a flow as diff-flows prints it.
func readFlow(text string) FlowText {
	flow := FlowText{Priority: usualPriority, Text: text}
	match, _, _ := strings.Cut(text, " actions=") // a learn has a table, too
	for field := range strings.FieldsFuncSeq(match, func(r rune) bool { return r == ',' || r == ' ' }) {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "cookie":
			flow.Cookie, _ = strconv.ParseUint(value, 0, 64)
		case "table":
			flow.Table, _ = strconv.Atoi(value)
		case "priority":
			flow.Priority, _ = strconv.Atoi(value)
		}
	}
	return flow
}

// compareSeconds bounds a comparison: 60,000 flows are read in 0.5 s on an idle
// machine.
const compareSeconds = 10

// Compare returns how the flows of our bridge differ from want. Open vSwitch
// compares them itself: it alone knows which texts mean the same flow.
func (s *Switch) Compare(ctx context.Context, want []fabric.Flow) (Difference, error) {
	ses, err := s.current()
	if err != nil {
		return Difference{}, err
	}
	var text bytes.Buffer
	for _, f := range want {
		fmt.Fprintf(&text, "cookie=%#x,table=%d,priority=%d", f.Cookie, f.Table, f.Priority)
		if f.Match != "" {
			text.WriteString("," + f.Match)
		}
		text.WriteString(",actions=" + f.Actions + "\n")
	}
	out, err := ses.tools.runFor(ctx, (compareSeconds+1)*time.Second, &text, "ovs-ofctl", fmt.Sprintf("--timeout=%d", compareSeconds),
		"-OOpenFlow15", "--no-names", "diff-flows", s.cfg.Bridge, "/proc/self/fd/0")
	// 2 says that they differ.
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 2) {
		return Difference{}, fmt.Errorf("compare the flows of %s: %w", s.cfg.Bridge, err)
	}
	return parseDifference(string(out)).real(), nil
}

// real leaves out flows that differ in spelling alone: the switch turns a load
// of a whole field into a set_field, and diff-flows takes the two for different.
func (d Difference) real() Difference {
	type key struct {
		cookie uint64
		match  string
	}
	keyOf := func(f FlowText) (key, string) {
		match, actions, _ := strings.Cut(f.Text, " actions=")
		return key{f.Cookie, match}, actions
	}
	extra := make(map[key]string, len(d.Extra))
	for _, f := range d.Extra {
		k, actions := keyOf(f)
		extra[k] = actions
	}
	same := map[key]bool{}
	d.Missing = slices.DeleteFunc(d.Missing, func(f FlowText) bool {
		k, actions := keyOf(f)
		there, ok := extra[k]
		same[k] = ok && sameActions(actions, there)
		return same[k]
	})
	d.Extra = slices.DeleteFunc(d.Extra, func(f FlowText) bool {
		k, _ := keyOf(f)
		return same[k]
	})
	return d
}

// sameActions is whether two lists of actions are alike but for the values that
// they give to fields.
func sameActions(a, b string) bool {
	sets := func(s string) bool { return strings.HasPrefix(s, "load:") || strings.HasPrefix(s, "set_field:") }
	return slices.EqualFunc(splitActions(a), splitActions(b), func(x, y string) bool { return x == y || sets(x) && sets(y) })
}

// splitActions splits at the commas that are in no parentheses.
func splitActions(text string) []string {
	var out []string
	depth, from := 0, 0
	for i, r := range text {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			out = append(out, text[from:i])
			from = i + 1
		}
	}
	return append(out, text[from:])
}

// parseDifference reads what diff-flows printed: "-" begins what only the first,
// the bridge, has, and "+" what only the second has.
func parseDifference(out string) Difference {
	var d Difference
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if len(line) < 2 {
			continue
		}
		flow := readFlow(strings.TrimSpace(line[1:]))
		switch line[0] {
		case '-':
			d.Extra = append(d.Extra, flow)
		case '+':
			d.Missing = append(d.Missing, flow)
		}
	}
	return d
}

// Bridge is the name of our bridge, and Socket the path of the database's socket
// of the switch that has it; "" while there is none.
func (s *Switch) Bridge() (name, socket string) {
	ses, err := s.current()
	if err != nil {
		return s.cfg.Bridge, ""
	}
	return s.cfg.Bridge, ses.socket
}

// HostRuns is whether the host's own Open vSwitch answers.
func (s *Switch) HostRuns(ctx context.Context) bool { return answers(ctx, s.cfg.HostSocket) }
