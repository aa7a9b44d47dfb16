package command

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/admin/admintest"
)

// here is this folder: tests may go elsewhere.
var here, _ = os.Getwd()

// No names at all is no error, and says how they come; an empty word is one.
func TestLsWithoutNames(t *testing.T) {
	w := newWorld(t)
	w.fails(ExitUsage, "a NAME is empty", "ls", "")
	for _, mac := range []string{"02-00-00-00-00-28", "02:00:*"} {
		if got := w.does("ls", "--mac", mac); !strings.Contains(got, "mariadb") || strings.Contains(got, "rabbit") {
			t.Errorf("ls --mac %s says %q", mac, got)
		}
	}
	w.HostsNow = w.HostsNow[:1]
	w.Put(admin.Lease{Name: "alone", Pool: "172.16.0.0/16", State: admin.StateParked})
	if got := w.does("ls", "--host", "node1"); !strings.Contains(got, "alone") {
		t.Errorf("ls --host of the only one says %q", got)
	}
	w.Clear()
	if got := w.runs("ls"); got.code != ExitDone || got.out != "" || !strings.Contains(got.err, "no names yet") || !strings.Contains(got.err, "dockstack reserve") {
		t.Errorf("ls without names: %+v", got)
	}
	if got := w.does("ls", "--json"); got != "[]\n" {
		t.Errorf("ls --json without names says %q", got)
	}
}

// What a name had before it was reserved elsewhere is told, and a subnet may be
// yet to come.
func TestReserveTellsWhatWas(t *testing.T) {
	w := newWorld(t)
	if got := w.does("reserve", "mariadb", "172.16.0.41"); !strings.Contains(got, "before, it had 172.16.0.40") {
		t.Errorf("reserve says %q", got)
	}
	if got := w.does("reserve", "mariadb", "172.16.0.41"); strings.Contains(got, "before") {
		t.Errorf("the same again says %q", got)
	}
	if got := w.does("reserve", "early", "10.99.0.5", "--subnet", "10.99.0.0/24"); !strings.Contains(got, "10.99.0.5 in 10.99.0.0/24 is reserved for early") {
		t.Errorf("reserve --subnet says %q", got)
	}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join(here, "testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

func TestTables(t *testing.T) {
	w := newWorld(t)
	w.Put(admin.Lease{
		Name: "a-name-that-is-rather-long-for-a-terminal-of-eighty-columns", Address: netip.MustParseAddr("fd00:1234:5678:9abc::1"), MAC: "06:00:00:00:00:01",
		Network: "another-network-with-a-long-name", Pool: "fd00::/16", State: admin.StateLive, Fixed: true, Host: "database-2.example", HostID: "2222222222222222", Since: admintest.At.Add(-50 * 24 * time.Hour),
	})
	w.Put(admin.Lease{
		Name: "esc\x1b[31mape\u202e", Address: netip.MustParseAddr("172.16.0.99"), MAC: "0a:d5:ac:10:00:63", Network: "int\nernal", Pool: "172.16.0.0/16",
		State: admin.StateParked, Since: admintest.At.Add(-90 * time.Second),
	})
	for name, columns := range map[string]int{"piped": 0, "wide": 200, "80": 80, "60": 60, "30": 30} {
		w.columns = columns
		w.env["NO_COLOR"] = "1"
		got := w.does("ls")
		golden(t, "ls-"+name, got)
		for line := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); columns >= 60 && n > columns {
				t.Errorf("on %d columns a line has %d: %q", columns, n, line)
			}
		}
	}
	w.columns = 120
	delete(w.env, "NO_COLOR")
	golden(t, "ls-colours", w.does("ls", "rabbitmq*", "mariadb"))
	w.env["TERM"] = "dumb"
	if got := w.does("ls"); strings.ContainsRune(got, '\x1b') {
		t.Errorf("colours on a terminal that knows none: %q", got)
	}
	w.columns = 0
	delete(w.env, "TERM")
	if got := w.does("ls"); strings.ContainsRune(got, '\x1b') {
		t.Errorf("colours in a pipe: %q", got)
	}
}

func TestLsFilters(t *testing.T) {
	w := newWorld(t)
	for args, want := range map[string]string{
		"":                                    "rabbitmq1 rabbitmq2 mariadb",
		"rabbitmq1":                           "rabbitmq1",
		"rabbitmq1 mariadb":                   "rabbitmq1 mariadb",
		"--name rabbit*":                      "rabbitmq1 rabbitmq2",
		"--address 172.16.0.32/31":            "rabbitmq2",
		"--mac 02:*":                          "mariadb",
		"--network internal --state live":     "rabbitmq1 rabbitmq2",
		"--host node1":                        "rabbitmq1 mariadb",
		"--reserved":                          "mariadb",
		"--state parked,live --host node1":    "rabbitmq1 mariadb",
		"--network front":                     "",
		"--name rabbit* --name maria* --json": "rabbitmq1 rabbitmq2 mariadb",
	} {
		list := append([]string{"ls", "--json"}, strings.Fields(args)...)
		var got []admin.Lease
		if err := json.Unmarshal([]byte(w.does(list...)), &got); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, l := range got {
			names = append(names, l.Name)
		}
		if is := strings.Join(names, " "); is != want {
			t.Errorf("ls %s lists %q, want %q", args, is, want)
		}
	}
	if got := w.runs("ls", "--network", "front"); got.code != ExitDone || got.out != "" || got.err != "nothing fits\n" {
		t.Errorf("an empty list is %+v", got)
	}
}

// Whatever a table has, its rows fit the terminal as far as that is possible, and
// nothing ends in a crash.
func FuzzTable(f *testing.F) {
	f.Add("web", "172.16.0.1", "internal", 80)
	f.Add("\x1b\xff", "", strings.Repeat("é", 100), 1)
	f.Fuzz(func(t *testing.T, a, b, c string, width int) {
		columns := []column{{head: "NAME", need: always, soft: 40, least: 8}, {head: "MAC", need: 1}, {head: "NETWORK", need: 5, soft: 20, least: 8}}
		rows := [][]cell{{text(a), text(b), text(c)}, {text(c), text(a), text(b)}}
		width = max(width, 0)
		shown, widths := layout(columns, rows, width)
		if len(shown) != len(widths) || len(shown) == 0 {
			t.Fatalf("%d columns with %d widths", len(shown), len(widths))
		}
		if width >= 8+gap+8+gap+17 && total(widths) > width {
			t.Errorf("a row of %d columns on a terminal of %d", total(widths), width)
		}
		for n, i := range shown {
			for _, row := range rows {
				if got := shortenTo(row[i].text, widths[n]); utf8.RuneCountInString(got) > widths[n] {
					t.Errorf("%q is wider than %d", got, widths[n])
				}
			}
		}
	})
}
