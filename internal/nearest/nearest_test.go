package nearest

import (
	"slices"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	names := []string{"rabbitmq1", "rabbitmq2", "mariadb", "memcached", "web", "Web2", "x"}
	tests := []struct {
		want string
		n    int
		are  []string
	}{
		{"rabitmq1", 3, []string{"rabbitmq1", "rabbitmq2"}},
		{"rabitmq1", 1, []string{"rabbitmq1"}},
		{"rabbitqm2", 1, []string{"rabbitmq2"}},
		{"WEB", 3, []string{"web", "Web2"}},
		{"mar", 3, []string{"mariadb"}},
		{"wbe", 3, []string{"web"}},
		{"postgres", 3, nil},
		{"", 3, nil},
		{"mem", 0, nil},
		{strings.Repeat("é", 5000), 3, nil},
	}
	for _, tt := range tests {
		if got := Of(tt.want, names, tt.n); !slices.Equal(got, tt.are) {
			t.Errorf("%q looks like %q, want %q", tt.want, got, tt.are)
		}
	}
}

func TestHint(t *testing.T) {
	tests := map[string]string{
		"liev": "; did you mean `live`?",
		"a":    "; did you mean `b1` or `b2`?",
		"zzzz": "",
	}
	for want, is := range tests {
		all := []string{"live", "parked"}
		if want == "a" {
			all = []string{"b1", "b2"}
			want = "b3"
		}
		if got := Hint(want, all); got != is {
			t.Errorf("the hint for %q is %q, want %q", want, got, is)
		}
	}
}

func TestHintAnd(t *testing.T) {
	all := []string{"live", "parked"}
	for want, is := range map[string]string{
		"liev": "; did you mean `live`? The states are two",
		"zzzz": "; the states are two",
	} {
		if got := HintAnd(want, all, "the states are two"); got != is {
			t.Errorf("the hint for %q is %q, want %q", want, got, is)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add("web", "wbe")
	f.Add("\x00\xff", "é")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, got := range Of(a, []string{b, b, a}, 3) {
			if got != a && got != b {
				t.Errorf("%q was not among the words", got)
			}
		}
		if d := distance(fold(a), fold(b), 1000); d != distance(fold(b), fold(a), 1000) {
			t.Errorf("%q and %q differ by %d from one side only", a, b, d)
		}
	})
}
