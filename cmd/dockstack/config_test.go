package main

import (
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	tests := []struct {
		what, name, value string
		want              []string // in the error; none: it is taken
	}{
		{"a zone", "DOCKSTACK_ZONE", "Endor.Lab.", nil},
		{"no zone", "DOCKSTACK_ZONE", "a..b", []string{`DOCKSTACK_ZONE="a..b"`, "endor.lab"}},
		{"another loopback address", "DOCKSTACK_DNS", "127.0.0.54", nil},
		{"an address that others reach", "DOCKSTACK_DNS", "192.0.2.1", []string{"DOCKSTACK_DNS", "loopback"}},
		{"resolvers", "DOCKSTACK_FORWARDERS", "192.0.2.53, [2001:db8::53]:5353", nil},
		{"no resolver", "DOCKSTACK_FORWARDERS", "dns.example", []string{`DOCKSTACK_FORWARDERS="dns.example"`}},
		{"a small supernet", "DOCKSTACK_SUPERNET", "10.0.0.0/28", []string{"DOCKSTACK_SUPERNET", "/24 or larger"}},
		{"a supernet of the other family", "DOCKSTACK_SUPERNET6", "10.0.0.0/8", []string{"DOCKSTACK_SUPERNET6"}},
		{"a datapath", "DOCKSTACK_DATAPATH", "kernel", nil},
		{"no datapath", "DOCKSTACK_DATAPATH", "fast", []string{"auto, kernel or userspace"}},
		{"no level", "DOCKSTACK_LOG", "loud", []string{"debug, info, warn or error"}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			t.Setenv(tt.name, tt.value)
			_, err := readConfig()
			if (err != nil) != (tt.want != nil) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
			for _, w := range append(tt.want, map[bool][]string{true: {"docker plugin set"}}[err != nil]...) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q lacks %q", err, w)
				}
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	if c.zone != "dockstack" || c.dnsAddr.String() != "127.0.0.153" || c.datapath != "auto" || len(c.resolvers) != 0 {
		t.Errorf("defaults are %+v", c)
	}
	if got := c.host(stateFile); got != "/host/var/lib/dockstack/dockstack.db" {
		t.Errorf("state at %s", got)
	}
}
