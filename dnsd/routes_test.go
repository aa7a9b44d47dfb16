package dnsd

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// spell is what ParseForwarders gave, in one line.
func spell(text string) (string, error) {
	resolvers, routes, err := ParseForwarders(text)
	parts := make([]string, 0, len(resolvers)+len(routes))
	for _, r := range resolvers {
		parts = append(parts, r.String())
	}
	for _, r := range routes {
		to := fmt.Sprint(r.Resolvers)
		if r.Default {
			to = "as usual"
		}
		parts = append(parts, r.Domain+"="+to)
	}
	return strings.Join(parts, " "), err
}

func TestForwardersAreReadAsDnsmasqWritesThem(t *testing.T) {
	for text, want := range map[string]string{
		"": "", " , ": "",
		"10.0.0.1,10.0.0.2#5353,10.0.0.3:5354":                                        "10.0.0.1:53 10.0.0.2:5353 10.0.0.3:5354",
		"[2001:db8::1]:53 2001:db8::2\n2001:db8::3#5353,[2001:db8::4]#1,fe80::1%eth0": "[2001:db8::1]:53 [2001:db8::2]:53 [2001:db8::3]:5353 [2001:db8::4]:1 [fe80::1%eth0]:53",
		"::ffff:10.0.0.1":                               "10.0.0.1:53",
		"10.0.0.1,/Corp.Example./10.1.1.1":              "10.0.0.1:53 corp.example=[10.1.1.1:53]",
		"/corp.example/10.1.1.1,/corp.example/10.1.1.2": "corp.example=[10.1.1.1:53 10.1.1.2:53]",
		"/a.test/b.test/10.1.1.1,/b.test/10.1.1.2":      "a.test=[10.1.1.1:53] b.test=[10.1.1.1:53 10.1.1.2:53]",
		"/local.test/":                                  "local.test=[]",
		"/corp/10.1.1.1,/open.corp/#":                   "corp=[10.1.1.1:53] open.corp=as usual",
		"/16.172.in-addr.arpa/10.1.1.1":                 "16.172.in-addr.arpa=[10.1.1.1:53]",
		"/10.0.0.0/8/10.1.1.1":                          "10.in-addr.arpa=[10.1.1.1:53]",
		"/10.0.0.0/8/":                                  "10.in-addr.arpa=[]",
		"/10.1.2.3/32/corp.example/10.1.1.1":            "3.2.1.10.in-addr.arpa=[10.1.1.1:53] corp.example=[10.1.1.1:53]",
		"/172.16.0.0/14/10.1.1.1":                       "16.172.in-addr.arpa=[10.1.1.1:53] 17.172.in-addr.arpa=[10.1.1.1:53] 18.172.in-addr.arpa=[10.1.1.1:53] 19.172.in-addr.arpa=[10.1.1.1:53]",
		"/2001:db8::/32/10.1.1.1":                       "8.b.d.0.1.0.0.2.ip6.arpa=[10.1.1.1:53]",
		"/fd00::/7/10.1.1.1":                            "c.f.ip6.arpa=[10.1.1.1:53] d.f.ip6.arpa=[10.1.1.1:53]",
		"/_msdcs.corp.example/10.1.1.1#54":              "_msdcs.corp.example=[10.1.1.1:54]",
	} {
		if got, err := spell(text); got != want || err != nil {
			t.Errorf("%q gives %s, %v, want %s", text, got, err, want)
		}
	}
}

func TestAWrongForwarderIsNamedWithTheWayToWriteIt(t *testing.T) {
	for text, piece := range map[string]string{
		"10.0.0.1,10.0.0":                     "10.0.0",
		"dns.example":                         "dns.example",
		"10.0.0.1:x":                          "10.0.0.1:x",
		"10.0.0.1#":                           "10.0.0.1#",
		"10.0.0.1#70000":                      "10.0.0.1#70000",
		"10.0.0.1#0":                          "10.0.0.1#0",
		"0.0.0.0":                             "0.0.0.0",
		"224.0.0.1":                           "224.0.0.1",
		"10.0.0.1@eth0":                       "10.0.0.1@eth0",
		"/corp.example":                       "/corp.example",
		"/corp.example/10.1.1":                "/corp.example/10.1.1",
		"//10.1.1.1":                          "//10.1.1.1",
		"/*.corp.example/10.1.1.1":            "/*.corp.example/10.1.1.1",
		"/corp example/10.1.1.1":              "/corp",
		"/10.1.1.1/":                          "/10.1.1.1/",
		"/10.1.1.1/33/10.1.1.1":               "/10.1.1.1/33/10.1.1.1",
		"/10.1.1.1/0/10.1.1.1":                "/10.1.1.1/0/10.1.1.1",
		"/10.1.1.1/x/10.1.1.1":                "/10.1.1.1/x/10.1.1.1",
		"/corp.test/,/corp.test/10.1.1.1":     "/corp.test/10.1.1.1",
		"/corp..test/10.1.1.1":                "/corp..test/10.1.1.1",
		"/ä.test/10.1.1.1":                    "/ä.test/10.1.1.1",
		"/" + strings.Repeat("x", 64) + ".t/": "/" + strings.Repeat("x", 64) + ".t/",
	} {
		got, err := spell(text)
		if !errors.Is(err, ErrForwarder) || !strings.Contains(err.Error(), fmt.Sprintf("%q", piece)) || !strings.Contains(err.Error(), "/corp.example/10.1.1.1") {
			t.Errorf("%q gives %q and %v", text, got, err)
		}
	}
}

func TestTheLongestDomainCounts(t *testing.T) {
	_, list, err := ParseForwarders("/corp.example/10.1.1.1,/dev.corp.example/10.1.1.2,/open.dev.corp.example/#,/secret.corp.example/,/single/10.1.1.3")
	if err != nil {
		t.Fatal(err)
	}
	table := newRouteTable(list)
	for name, want := range map[string]string{
		"corp.example": "corp.example", "www.corp.example": "corp.example", "xcorp.example": "",
		"dev.corp.example": "dev.corp.example", "a.b.dev.corp.example": "dev.corp.example",
		"open.dev.corp.example": "open.dev.corp.example", "a.secret.corp.example": "secret.corp.example",
		"example": "", "": "", "single": "single", "a.single": "single", "corp.example.org": "",
	} {
		got := ""
		if r, at := table.match(name); r != nil {
			got = r.Domain
			if name[at:] != got {
				t.Errorf("%q: the domain is said to begin at %d", name, at)
			}
		}
		if got != want {
			t.Errorf("%q goes by %q, want %q", name, got, want)
		}
	}
	for _, tt := range []struct {
		name, zone string
		want       bool
	}{
		{"x.corp.example", "corp.example", true},
		{"x.dev.corp.example", "corp.example", true},
		{"x.corp.example", "x.corp.example", false},
		{"a.secret.corp.example", "corp.example", false},
		{"single", "", true},
		{"other", "", false},
	} {
		if got := table.beats(tt.name, len(tt.name)-len(tt.zone)); got != tt.want {
			t.Errorf("%s in our zone %q: goes by a route: %v", tt.name, tt.zone, got)
		}
	}
}

func FuzzForwarders(f *testing.F) {
	for _, text := range []string{"10.0.0.1,/a.b/[::1]#5,/c/", "/10.0.0.0/9/1.1.1.1", "/fd00::/7/#", "/x/y/z/1.2.3.4:5"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		resolvers, routes, err := ParseForwarders(text)
		if err != nil {
			if len(resolvers)+len(routes) > 0 || !errors.Is(err, ErrForwarder) {
				t.Fatalf("%q: %v beside %v, %v", text, err, resolvers, routes)
			}
			return
		}
		table := newRouteTable(routes)
		for _, r := range routes {
			if got, at := table.match(r.Domain); got == nil || at != 0 || !sameRoute(*got, r) {
				t.Fatalf("%q: %+v is not found", text, r)
			}
		}
	})
}
