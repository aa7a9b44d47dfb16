package leasefile

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// told is a result as text, a line for each thing.
func told(r Result) string {
	var out strings.Builder
	fmt.Fprintf(&out, "format %s\n", r.Format)
	for _, v := range r.Reservations {
		fmt.Fprintln(&out, strings.Join(strings.Fields(fmt.Sprintf("%s reserve %s %s %s %s", v.From, v.Name, v.Address, v.MAC, v.Pool)), " "))
	}
	for _, v := range r.Records {
		fmt.Fprintf(&out, "record %s %s %s %d\n", v.Name, v.Type, v.Value, v.TTL)
	}
	for _, v := range r.Subnets {
		fmt.Fprintf(&out, "subnet %s\n", v)
	}
	for _, v := range r.LeftOut {
		fmt.Fprintf(&out, "%s left out: %s: %s\n", v.From, v.What, v.Reason)
	}
	if len(r.Domains) > 0 {
		fmt.Fprintf(&out, "domains %v\n", r.Domains)
	}
	return out.String()
}

// TestWhatPeopleHave reads each kind of file, and compares all that comes of it,
// also of what is left out, with what stands beside it.
func TestWhatPeopleHave(t *testing.T) {
	t.Setenv("RABBIT", "")
	for name, format := range map[string]string{
		"dnsmasq.leases": DnsmasqLeases, "dnsmasq.conf": DnsmasqConf, "dhcp-hosts": DnsmasqHosts, "hosts": Hosts,
		"compose.yml": Compose, "export.yaml": YAML, "../../environment/testdata/environment.yaml": Environment,
	} {
		path := filepath.Join("testdata", name)
		for _, given := range []string{format, ""} {
			r, err := Read(path, read(t, path), given)
			if err != nil {
				t.Errorf("%s as %q: %v", name, given, err)
				continue
			}
			got := strings.ReplaceAll(told(r), path+":", filepath.Base(path)+":")
			golden := filepath.Join("testdata", filepath.Base(name)+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(read(t, golden)); got != want {
				t.Errorf("%s as %q gives\n%s\nwant\n%s\n(if it is meant to be so: go test ./internal/leasefile -update)", name, given, got, want)
			}
		}
	}
}
