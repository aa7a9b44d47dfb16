package doctor

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the tests compare with")

const (
	page  = "../../docs/doctor.md"
	begin = "<!-- kinds -->\n"
	end   = "<!-- /kinds -->\n"
)

// docs/doctor.md lists every kind of finding as the code has it.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s lacks %q or %q", page, begin, end)
	}
	want := before + begin + tables() + end + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s is not what the code says; `go generate ./internal/doctor` writes it anew", page)
	}
	seen := map[string]bool{}
	for _, k := range Kinds {
		if seen[k.ID] {
			t.Errorf("%s is there twice", k.ID)
		}
		seen[k.ID] = true
		if mended := slices.ContainsFunc(mends, func(m mend) bool { return slices.Contains(m.ids, k.ID) }); mended != k.Fix {
			t.Errorf("%s: --fix mends it: %v, and the code says %v", k.ID, mended, k.Fix)
		}
	}
	for _, c := range checks {
		for _, id := range c.ids {
			if !seen[id] {
				t.Errorf("a check looks for %s, which is no kind", id)
			}
		}
	}
}

func tables() string {
	var b strings.Builder
	for _, s := range []struct {
		head  string
		kinds []Kind
	}{
		{"The switch", switchKinds},
		{"The way to other hosts", tunnelKinds},
		{"Containers and networks", containerKinds},
		{"Names, addresses, hosts", leaseKinds},
		{"DNS", dnsKinds},
		{"The engine", engineKinds},
		{"The store", storeKinds},
		{"Found by the command itself, where the daemon can't be reached", localKinds},
	} {
		fmt.Fprintf(&b, "\n### %s\n\n| finding | is | it means | the mend | `--fix` |\n|---|---|---|---|---|\n", s.head)
		for _, k := range s.kinds {
			fix := ""
			if k.Fix {
				fix = "yes"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.ID, k.Severity, k.Means, k.Mend, fix)
		}
	}
	return b.String() + "\n"
}
