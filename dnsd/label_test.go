package dnsd

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLabel(t *testing.T) {
	long := strings.Repeat("a", 64)
	for name, want := range map[string]string{
		"db":                    "db",
		"MariaDB":               "mariadb",
		"my_app":                "my-app",
		"My_App.1":              "my-app-1",
		"_x_":                   "x",
		"a__b":                  "a--b",
		"web-":                  "web",
		"9lives":                "9lives",
		"sp ace":                "sp-ace",
		"käse":                  "k--se",
		"":                      "c-e3b0c44298",
		"___":                   "c-bda251550b",
		long[:63]:               long[:63],
		long:                    long[:52] + "-ffe054fe7a",
		long + long:             long[:52] + "-6836cf13ba",
		long[:51] + "--" + long: long[:51] + "-" + "d5f14b7645",
	} {
		if got := Label(name); got != want {
			t.Errorf("Label(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestLabelIsAlwaysALabel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9][a-zA-Z0-9_.-]{0,200}`)).Draw(t, "name")
		label := Label(name)
		if !isLabel(label) {
			t.Fatalf("Label(%q) = %q is none", name, label)
		}
		if again := Label(label); again != label {
			t.Fatalf("Label(%q) = %q, but Label of that is %q", name, label, again)
		}
	})
}

func TestLongNamesKeepTheirOwnLabels(t *testing.T) {
	seen := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		name := strings.Repeat("n", 60) + rapid.StringMatching(`[a-z0-9]{4,20}`).Draw(t, "tail")
		label := Label(name)
		if other, ok := seen[label]; ok && other != name {
			t.Fatalf("%q and %q are both %q", name, other, label)
		}
		seen[label] = name
	})
}

func TestZonesThatAreNone(t *testing.T) {
	for _, zone := range []string{".", "a..b", "sp ace", "arpa", "168.192.in-addr.arpa", "localhost", strings.Repeat("a", 64), strings.Repeat("a.", 90) + "b"} {
		if _, err := New(Config{Zone: zone}, nil, discard()); !errors.Is(err, ErrZone) {
			t.Errorf("zone %q: %v", zone, err)
		}
	}
}
