package ovs

import "testing"

// What diff-flows leaves out is what is usual, and a learn's table is not the
// flow's.
func TestReadFlow(t *testing.T) {
	for text, want := range map[string]FlowText{
		"priority=65000 actions=drop": {Priority: 65000},
		" actions=drop":               {Priority: 32768},
		"table=7 priority=9,in_port=1 cookie=0x1f actions=NORMAL":                                            {Cookie: 0x1f, Table: 7, Priority: 9},
		"table=10 priority=80,ip cookie=0xd500000000000007 actions=learn(table=25,priority=100,cookie=0xd5)": {Cookie: 0xd500000000000007, Table: 10, Priority: 80},
	} {
		want.Text = text
		if got := readFlow(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}
