package page

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"etcd://10.0.0.1:2379,10.0.0.2:2379/prefix":                      "etcd://10.0.0.1:2379,10.0.0.2:2379/prefix",
		"etcd://root:hunter2@10.0.0.1:2379,10.0.0.2:2379":                "etcd://10.0.0.1:2379,10.0.0.2:2379",
		"get etcds://root:hun,ter2@10.0.0.1:2379: refused":               "get etcds://10.0.0.1:2379: refused",
		`dial "https://a:b@example.org/x": no`:                           `dial "https://example.org/x": no`,
		"etcd password=hunter2 refused, Token: abc; api_key='x y' unset": "etcd password=*** refused, Token: ***; api_key=*** unset",
		"mail admin@example.org":                                         "mail admin@example.org",
		"one\ntwo\n":                                                     "one; two",
		"subnet 10.0.0.0/24@blue clashes":                                "subnet 10.0.0.0/24@blue clashes",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestProse(t *testing.T) {
	for in, want := range map[string]string{
		"run `docker dockstack doctor` there": "run <code>docker dockstack doctor</code> there",
		"a ` alone":                           "a ` alone",
		"`<script>`":                          "<code>&lt;script&gt;</code>",
		"a\u202eb":                            `a\u202eb`,
		"`a` and `b":                          "<code>a</code> and `b",
	} {
		if got := string(prose(in)); got != want {
			t.Errorf("prose(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestNaturally(t *testing.T) {
	want := []string{"a", "node", "node1", "node2", "node2b", "node010", "node11", "nodeb", "z"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, naturally)
	if !slices.Equal(got, want) {
		t.Errorf("names in order are %q", got)
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 9999: "9999", 10_000: "10" + thin + "000", 1_234_567: "1" + thin + "234" + thin + "567", -65_536: "-65" + thin + "536"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	if got := free(admin.MaxFree); !strings.HasPrefix(got, "more than") {
		t.Errorf("too many to count is %q", got)
	}
	if got := shorten("controller-with-a-long-name-17", 13); len([]rune(got)) != 13 || !strings.HasSuffix(got, "17") {
		t.Errorf("a long name is %q", got)
	}
}

func TestHasWord(t *testing.T) {
	for _, c := range []struct {
		text, word string
		want       bool
	}{
		{"host1 has no way here", "host1", true},
		{"host11 has no way here", "host1", false},
		{"is host11 or host1?", "host1", true},
		{"to 192.0.2.1: no route", "192.0.2.1", true},
		{"x", "", false},
		{"my-host1", "host1", false},
	} {
		if got := hasWord(c.text, c.word); got != c.want {
			t.Errorf("%q names %q: %v", c.text, c.word, got)
		}
	}
}

func TestSpark(t *testing.T) {
	now := time.Now()
	var samples []admin.DNSSample
	for i := range 720 { // two hours, of which one is shown
		samples = append(samples, admin.DNSSample{At: now.Add(time.Duration(i-719) * 10 * time.Second), Seconds: 10, Queries: 100, Failed: uint64(10 * (i / 700))})
	}
	s := drawSpark(samples, now)
	if n := strings.Count(s.Line, "L") + 1; n > sparkPoints || n < sparkPoints/2 {
		t.Errorf("the line has %d points", n)
	}
	if s.Most != "10" || s.Failed == "" || !strings.Contains(s.Text, "10 now, 10 on average") {
		t.Errorf("it says %q, at most %s, failed %q", s.Text, s.Most, s.Failed)
	}
	if empty := drawSpark(nil, now); empty.Line != "" {
		t.Errorf("without samples the line is %q", empty.Line)
	}
}

func TestFindings(t *testing.T) {
	s := admin.Status{
		Switch:   admin.SwitchStatus{Up: true, Tunnel: admin.TunnelStatus{Faults: []string{"host2: no route"}}},
		Problems: []string{"host2: no route", "clocks differ"},
		Pools: []admin.Pool{
			{ID: "a", Network: "full", InUse: true, Live: 10},
			{ID: "b", Network: "lent", InUse: true, Live: 9, Parked: 1},
			{ID: "c", Network: "tight", InUse: true, Live: 99, Free: 1},
			{ID: "d", Network: "roomy", InUse: true, Live: 1, Free: 99},
			{ID: "e", Network: "old", Parked: 10},
		},
	}
	var got []string
	for _, f := range findings(s) {
		got = append(got, f.Level+" "+f.Title+f.Text[:min(5, len(f.Text))])
	}
	want := []string{"warn A tunnel does not workhost2", "warn clock", "bad full is fullall a", "warn lent has no address that is freenew n", "warn tight is almost full1 add"}
	if !slices.Equal(got, want) {
		t.Errorf("findings are\n%q, want\n%q", got, want)
	}
}
