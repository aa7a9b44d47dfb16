package yamldoc

import (
	"fmt"
	"strings"
	"testing"
)

func parse(t *testing.T, text string) *Doc {
	t.Helper()
	d, err := Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestMergedKeysComeBehindAndGiveWay(t *testing.T) {
	d := parse(t, "base: &b\n  ip: 1\n  mask: 16\nmore: &m {dns: 4, mask: 24}\none:\n  <<: [*b, *m]\n  ip: 2\n")
	v, line, ok := d.Top().Get("one")
	if !ok || line != 5 {
		t.Fatalf("one: %v on line %d, want line 5", ok, line)
	}
	pairs, err := v.Map()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range pairs {
		text, _ := p.Value.Scalar()
		got = append(got, p.Key+"="+text)
	}
	if s := strings.Join(got, " "); s != "ip=2 mask=16 dns=4" {
		t.Errorf("one has %s", s)
	}
	if _, line, _ := v.Get("mask"); line != 3 {
		t.Errorf("mask stands on line %d, want 3, where it is written", line)
	}
}

func TestRefused(t *testing.T) {
	for what, tc := range map[string]struct{ text, want string }{
		"nothing":        {"# only this\n", "f.yaml: nothing is in it"},
		"a list":         {"- a\n", "f.yaml:1: is no mapping but a list"},
		"bad YAML":       {"a: [1\nb: 2\n", "f.yaml: line "},
		"two documents":  {"a: 1\n---\nb: 2\n", "f.yaml:2: a second document"},
		"broken second":  {"a: 1\n---\n[\n", "f.yaml: line "},
		"a key twice":    {"a: 1\nb: 2\na: 3\n", `f.yaml:3: key "a" stands twice, on line 1 as well`},
		"a key's a list": {"[a]: 1\n", "f.yaml:1: a key is a list"},
		"merged scalar":  {"a: 1\n<<: word\n", `f.yaml:2: is no mapping but "word"`},
		"merged itself":  {"a: &a\n  <<: *a\n", "merge keys (<<) are nested"},
		"a bomb":         {"a: &a\n  <<: [*a, *a, *a]\n", "merge keys (<<) are nested"},
	} {
		d, err := Parse("f.yaml", []byte(tc.text))
		if err == nil {
			_, err = d.Top().Map()
		}
		if err == nil {
			v, _, _ := d.Top().Get("a")
			_, err = v.Map()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", what, err, tc.want)
		}
	}
}

// TestWideMerges: merge keys that multiply are given up on, soon.
func TestWideMerges(t *testing.T) {
	text := "a0: &a0 {k: v}\n"
	for i := range 30 {
		text += fmt.Sprintf("a%[2]d: &a%[2]d {<<: [*a%[1]d, *a%[1]d, *a%[1]d]}\n", i, i+1)
	}
	text += "end: *a30\n"
	v, _, _ := parse(t, text).Top().Get("end")
	if _, err := v.Map(); err == nil || !strings.Contains(err.Error(), "too many keys") {
		t.Errorf("got %v, want an error", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a: &a {b: 1}\nc: {<<: *a}\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		d, err := Parse("f", data)
		if err != nil {
			return
		}
		pairs, _ := d.Top().Map()
		for _, p := range pairs {
			_, _ = p.Value.Map()
			_ = p.Value.List()
			_, _, _ = p.Value.Get("b")
		}
	})
}
