package main

import (
	"strings"
	"testing"
)

// sightings gives every service an address that ends in its number plus shift.
func sightings(prefix string, shifts ...int) []sighting {
	var all []sighting
	for _, shift := range shifts {
		at := map[string]place{}
		for i, name := range services {
			n := string(rune('2' + (i+shift)%len(services)))
			at[name] = place{addr: prefix + n, mac: "02:" + n}
		}
		all = append(all, sighting{column: "event", at: at})
	}
	return all
}

func TestReportTellsWhatChanged(t *testing.T) {
	got := report([]*stack{
		{title: "dockstack", network: "internal", seen: sightings("172.16.0.", 0, 0, 0, 0, 0, 0)},
		{title: "Docker bridge", network: "bridged", seen: sightings("172.18.0.", 0, 1, 0, 2, 0, 0)},
	}, false)
	for _, want := range []string{
		"memcached  172.16.0.4 same       same       same       same       same",
		"memcached  172.18.0.4 172.18.0.5 same       172.18.0.2 same       same",
		"dockstack                    0 of 20               0 of 20",
		"Docker bridge                8 of 20               8 of 20",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the report lacks %q:\n%s", want, got)
		}
	}
	for line := range strings.Lines(got) {
		if len(strings.TrimRight(line, "\n")) > 80 {
			t.Errorf("wider than 80 columns: %q", line)
		}
	}
	if strings.Contains(got, "\033") {
		t.Error("colours where nobody looks")
	}
}
