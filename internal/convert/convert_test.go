package convert

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/dockstack/dockstack/internal/environment"
)

var update = flag.Bool("update", false, "write the golden files anew")

const sample = "../environment/testdata/environment.yaml"

func parse(t *testing.T, text string) *environment.Environment {
	t.Helper()
	env, err := environment.Parse("environment.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func files(t *testing.T, text string, opts Options) ([]File, []NoEquivalent) {
	t.Helper()
	all, missing, err := Files(parse(t, text), opts)
	if err != nil {
		t.Fatal(err)
	}
	return all, missing
}

// config fails unless the real Compose takes the file, and returns its project.
func config(t *testing.T, f File) *types.Project {
	t.Helper()
	compose, err := filepath.Abs("../../build/engine/bin/docker-compose")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(compose); err != nil {
		t.Fatalf("the converted files are tried with the real docker-compose: %v; run `make engine`", err)
	}
	path := filepath.Join(t.TempDir(), f.Name)
	if err := os.WriteFile(path, f.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), compose, "-f", path, "config", "-q").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("docker-compose -f %s config -q: %v\n%s\n%s", f.Name, err, out, f.Data)
	}
	p, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{WorkingDir: filepath.Dir(path), ConfigFiles: []types.ConfigFile{{Filename: path, Content: f.Data}}})
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	return p
}

func TestGoldenFiles(t *testing.T) {
	text := read(t, sample)
	all, missing := files(t, text, Options{})
	var said strings.Builder
	for _, n := range missing {
		said.WriteString(strings.TrimSpace(n.File+" "+n.String()) + "\n")
	}
	all = append(all, File{Name: "missing.txt", Data: []byte(said.String())})
	for _, f := range all {
		golden := filepath.Join("testdata", f.Name)
		if *update {
			if err := os.WriteFile(golden, f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if want := read(t, golden); want != string(f.Data) {
			t.Errorf("%s is not as it was; if it is meant to be so: go test ./internal/convert -update\n%s", f.Name, f.Data)
		}
	}
	again, _ := files(t, text, Options{})
	for i, f := range again {
		if !bytes.Equal(f.Data, all[i].Data) {
			t.Errorf("%s comes out differently each time", f.Name)
		}
	}
}

func TestComposeTakesItAndMeansTheSame(t *testing.T) {
	all, _ := files(t, read(t, sample), Options{})
	if len(all) != 2 || all[0].Name != "docker-compose.north.yml" || all[1].Host != "south" {
		t.Fatalf("files are %v", all)
	}
	config(t, all[0])
	p := config(t, all[1])
	svc := p.Services["mariadb1"]
	on := svc.Networks["internal"]
	if svc.ContainerName != "mariadb1" || svc.Hostname != "mariadb1" || svc.DomainName != "example.test" || svc.Restart != "always" || svc.Image != "mariadb" {
		t.Errorf("the service is %+v", svc)
	}
	if on.Ipv4Address != "10.1.0.4" || !slices.Equal(on.Aliases, []string{"mariadb"}) {
		t.Errorf("in the network it is %+v", on)
	}
	if !slices.Equal(svc.DNS, []string{"10.1.0.1"}) || !slices.Equal(svc.DNSSearch, []string{"example.test"}) {
		t.Errorf("dns is %v, search %v", svc.DNS, svc.DNSSearch)
	}
	if len(svc.Volumes) != 2 || svc.Volumes[0].Source != "/srv/default/my.cnf" || !svc.Volumes[0].ReadOnly || svc.Volumes[1].Source != "data" || p.Volumes["data"].Name != "data" {
		t.Errorf("volumes are %+v, declared %+v", svc.Volumes, p.Volumes)
	}
	n := p.Networks["internal"]
	if n.Name != "internal" || n.Driver != "dockstack" || n.Ipam.Driver != "dockstack" || n.DriverOpts["dockstack.vip"] != "10.1.0.254" ||
		n.Ipam.Config[0].Subnet != "10.1.0.0/16" || n.Ipam.Config[0].Gateway != "10.1.0.100" {
		t.Errorf("the network is %+v", n)
	}
	if _, starts := p.Services["spare1"]; starts {
		t.Error("spare1 did not run, and would be started")
	}
	if s := p.DisabledServices["spare1"]; s.Restart != "no" || !slices.Equal(s.Profiles, []string{"stopped"}) {
		t.Errorf("spare1 is %+v", s)
	}
}

// TestNothingIsDropped: each word of the environment is in a file or in the list.
func TestNothingIsDropped(t *testing.T) {
	env := parse(t, read(t, sample))
	all, missing := files(t, read(t, sample), Options{})
	for _, c := range env.Containers {
		for _, h := range c.Hooks {
			if !slices.ContainsFunc(missing, func(n NoEquivalent) bool {
				return n.Container == c.Name && n.What == h.When && n.Value == h.Command && n.Line == h.Line && n.File != ""
			}) {
				t.Errorf("%s of %s is not listed: %s", h.When, c.Name, h.Command)
			}
			if !slices.ContainsFunc(all, func(f File) bool { return strings.Contains(string(f.Data), "#   "+h.Command+"\n") }) {
				t.Errorf("no file has the comment %s", h.Command)
			}
		}
	}
	for _, want := range []string{"common.vip_name", "common.domain", "common.admin_password", "bridge", "containerhosts.north.port", "state", "registered_services.nobody"} {
		if !slices.ContainsFunc(missing, func(n NoEquivalent) bool { return n.What == want }) {
			t.Errorf("%s is not listed", want)
		}
	}
	for _, f := range all {
		if strings.Contains(string(f.Data), "s3cr") {
			t.Errorf("%s has a password in its comments", f.Name)
		}
	}
}

func TestOddTextStaysText(t *testing.T) {
	p := config(t, must(t, `
common: {domain: "a\nprivileged: true"}
containers:
  web1:
    ip: 10.0.0.2
    mask: 16
    image: "yes"
    domain: "1.0"
    volumes: ["/srv/$HOME/x y:/data", "./rel:/rel", "~/home:/home", "/anonymous", "vol:/vol:ro"]
    precreation: ["echo \"a\nservices: {}\" # $(id)\u2028\u0007"]
    bridge: "br0\r\nname: evil"
    mac: 02:42:0A:00:00:02
`))
	svc := p.Services["web1"]
	if svc.Image != "yes" || svc.DomainName != "1.0" || svc.Privileged || p.Name != "dockstack" {
		t.Errorf("the service is %+v of project %s", svc, p.Name)
	}
	if svc.Volumes[0].Source != "/srv/$HOME/x y" || len(p.Volumes) != 1 || p.Volumes["vol"].Name != "vol" {
		t.Errorf("volumes are %+v, declared %+v", svc.Volumes, p.Volumes)
	}
	if svc.Networks["internal"].MacAddress != "02:42:0a:00:00:02" {
		t.Errorf("the MAC is %s", svc.Networks["internal"].MacAddress)
	}
}

// must is the one file of an environment.
func must(t *testing.T, text string) File {
	t.Helper()
	all, _ := files(t, text, Options{})
	if len(all) != 1 || all[0].Name != "docker-compose.yml" {
		t.Fatalf("files are %v", all)
	}
	return all[0]
}

func TestNetworksPerSubnet(t *testing.T) {
	all, missing := files(t, `
containers:
  a1: {ip: 10.0.0.2, mask: 16, gateway: 10.0.0.1, image: x}
  a2: {ip: 10.0.0.3, mask: 16, gateway: 10.0.0.254, image: x}
  b1: {ip: 10.9.0.2, mask: 24, image: x}
  c1: {image: x}
  d1: {ip: "fd00::2", mask: 64, image: x}
`, Options{Network: "lab"})
	p := config(t, all[0])
	for service, want := range map[string]string{"a1": "lab", "a2": "lab", "b1": "lab-10-9-0-0-24", "c1": "lab-any", "d1": "lab-fd00---64"} {
		if _, ok := p.Services[service].Networks[want]; !ok {
			t.Errorf("%s is in %v, want %s", service, p.Services[service].Networks, want)
		}
	}
	if p.Services["d1"].Networks["lab-fd00---64"].Ipv6Address != "fd00::2" || !*p.Networks["lab-fd00---64"].EnableIPv6 {
		t.Errorf("IPv6 is lost: %+v", p.Networks["lab-fd00---64"])
	}
	if !slices.ContainsFunc(missing, func(n NoEquivalent) bool {
		return n.Container == "a2" && n.What == "gateway" && strings.Contains(n.Instead, "lab has 10.0.0.1")
	}) {
		t.Errorf("a2's other gateway is not listed: %v", missing)
	}
}

func TestOneHostAlone(t *testing.T) {
	all, missing := files(t, read(t, sample), Options{Host: "south"})
	if len(all) != 1 || all[0].Host != "south" || slices.ContainsFunc(missing, func(n NoEquivalent) bool { return n.Container == "dns1" }) {
		t.Errorf("files are %v, missing %v", all, missing)
	}
}

func TestRefused(t *testing.T) {
	const two = "containerhosts: {a/b: &1 {ip: 192.0.2.1}, a-b: &2 {ip: 192.0.2.2}, idle: {ip: 192.0.2.3}}\n"
	for what, tc := range map[string]struct {
		text string
		opts Options
		want string
	}{
		"no image":           {"containers:\n  web1: {ip: 10.0.0.2, mask: 16}\n", Options{}, "environment.yaml:2: container web1 has no image"},
		"mistyped host":      {read(t, sample), Options{Host: "nroth"}, "did you mean `north`?"},
		"a host of nothing":  {two + "containers: {web1: {image: x, host: *1}}\n", Options{Host: "idle"}, "no container is on host idle; there are some on a/b"},
		"two hosts one file": {two + "containers: {web1: {image: x, host: *1}, web2: {image: x, host: *2}}\n", Options{}, `"a/b" and "a-b" would both have the file docker-compose.a-b.yml`},
	} {
		_, _, err := Files(parse(t, tc.text), tc.opts)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", what, err, tc.want)
		}
	}
}

// TestFileNamesStayWhereTheyAre: a host's name leads to no other folder.
func TestFileNamesStayWhereTheyAre(t *testing.T) {
	for host, want := range map[string]string{
		"../../etc/x": "docker-compose.etc-x.yml", "": "docker-compose.yml", "a b": "docker-compose.a-b.yml", "..": "docker-compose..yml", "h1.lab": "docker-compose.h1.lab.yml",
	} {
		if got := fileName(host); got != want {
			t.Errorf("host %q has the file %s, want %s", host, got, want)
		}
	}
}

// FuzzFiles: what can be read and converted, Compose can load.
func FuzzFiles(f *testing.F) {
	data, err := os.ReadFile(sample)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		env, err := environment.Parse("environment.yaml", data)
		if err != nil {
			return
		}
		all, _, err := Files(env, Options{})
		if err != nil {
			return
		}
		for _, file := range all {
			_, err := loader.LoadModelWithContext(context.Background(), types.ConfigDetails{WorkingDir: "/", ConfigFiles: []types.ConfigFile{{Filename: file.Name, Content: file.Data}}},
				func(o *loader.Options) { o.SkipInclude, o.SkipResolveEnvironment = true, true })
			if err != nil {
				t.Errorf("%v\n%s", err, file.Data)
			}
		}
	})
}
