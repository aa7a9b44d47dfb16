package admin_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/dockstack/dockstack/internal/admin"
)

func TestFilter(t *testing.T) {
	l := admin.Lease{
		Name: "Rabbit_1", Address: netip.MustParseAddr("172.16.0.31"), MAC: "0a:d5:ac:10:00:1f", Network: "internal",
		Pool: "172.16.0.0/16@blue", Overlay: "blue", State: admin.StateParked, Reserved: true, Host: "node1", HostID: "0123456789abcdef",
	}
	tests := []struct {
		query string
		want  bool
	}{
		{"", true},
		{"name=rabbit_1", true},
		{"name=rabbit", false},
		{"name=rab*", true},
		{"name=?abbit_[0-9]", true},
		{"name=x&name=RABBIT*", true},
		{"name=x", false},
		{"address=172.16.0.31", true},
		{"address=172.16.0.3", false},
		{"address=172.16.0.0/24", true},
		{"address=172.16.0.9/24", true},
		{"address=172.16.1.0/24", false},
		{"address=172.16.*", true},
		{"address=fd00::/8", false},
		{"mac=0A:D5:*", true},
		{"mac=0a:d5:ac:10:00:1f", true},
		{"mac=02*", false},
		{"network=internal", true},
		{"network=blue", true},
		{"network=172.16.0.0/16", true},
		{"network=172.16.0.0/16@blue", true},
		{"network=172.*", true},
		{"network=front", false},
		{"host=NODE1", true},
		{"host=0123456789abcdef", true},
		{"host=node2", false},
		{"state=parked", true},
		{"state=Reserved", true},
		{"state=live", false},
		{"state=live&state=reserved", true},
		{"name=rab*&state=live", false},
		{"name=rab*&state=parked&host=node1", true},
	}
	for _, tt := range tests {
		q, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		f, err := admin.ParseFilter(q)
		if err != nil {
			t.Errorf("%s: %v", tt.query, err)
			continue
		}
		if got := f.Match(l); got != tt.want {
			t.Errorf("%s takes it: %t, want %t", tt.query, got, tt.want)
		}
		if back, err := admin.ParseFilter(f.Query()); err != nil || !reflect.DeepEqual(back, f) {
			t.Errorf("%s comes back as %+v, %v", tt.query, back, err)
		}
	}
	if (admin.Filter{Hosts: []string{"*"}}).Match(admin.Lease{}) {
		t.Error("a lease of no host is on some host")
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"web-1_x.y": "web-1_x.y", "grün → é": "grün → é", "a b": "a b",
		"\x1b[31m": `\x1b[31m`, "a\nb\tc\r": `a\nb\tc\r`, "\x00\x7f": `\x00\x7f`, "\xff\xfe": `\xff\xfe`,
		"a\u202eb": `a\u202eb`, "\u200b": `\u200b`, "\u009b31m": `\u009b31m`, "\ufffd": "\ufffd", "\u00a0": `\u00a0`,
	} {
		if got := admin.Plain(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// Whatever stands in a name, no terminal takes it for a command.
func FuzzPlain(f *testing.F) {
	f.Add("web\x1b]0;x\x07\xff")
	f.Fuzz(func(t *testing.T, in string) {
		got := admin.Plain(in)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q becomes %q", in, got)
		}
		if admin.Plain(got) != got {
			t.Errorf("%q changes again", got)
		}
	})
}

func FuzzFilter(f *testing.F) {
	f.Add("name=rab*&address=172.16.0.0/16&state=live", "rabbit", "172.16.0.1")
	f.Add("name=[a&mac=\\", "[a", "::1")
	f.Fuzz(func(_ *testing.T, query, name, addr string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		filter, err := admin.ParseFilter(q)
		if err != nil {
			_ = err.Error()
			return
		}
		a, _ := netip.ParseAddr(addr)
		filter.Match(admin.Lease{Name: name, Address: a, Pool: name, Host: name})
	})
}

func ExamplePlain() {
	fmt.Println(admin.Plain("web\x1b[2J"))
	// Output: web\x1b[2J
}
