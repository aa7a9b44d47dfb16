package environment

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

func sample(t *testing.T) *Environment {
	t.Helper()
	data, err := os.ReadFile("testdata/environment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	env, err := Parse("environment.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func container(t *testing.T, env *Environment, name string) Container {
	t.Helper()
	i := slices.IndexFunc(env.Containers, func(c Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no container %s", name)
	}
	return env.Containers[i]
}

func TestMergeKeysBringTheDefaults(t *testing.T) {
	env := sample(t)
	c := container(t, env, "mariadb1")
	if c.IP != netip.MustParseAddr("10.1.0.4") || c.IPLine != 35 || c.Line != 33 {
		t.Errorf("mariadb1 is %s on line %d of a container on line %d", c.IP, c.IPLine, c.Line)
	}
	if got := c.Subnet(); got != netip.MustParsePrefix("10.1.0.0/16") {
		t.Errorf("subnet is %s", got)
	}
	if c.Gateway != netip.MustParseAddr("10.1.0.100") || c.Domain != "example.test" || c.Bridge != "br0" || len(c.DNS) != 1 || c.DNS[0] != netip.MustParseAddr("10.1.0.1") {
		t.Errorf("defaults are lost: %+v", c)
	}
	if !c.State || !c.StateKnown || len(c.Volumes) != 2 {
		t.Errorf("state or volumes are lost: %+v", c)
	}
	if c := container(t, env, "roaming1"); c.IP.IsValid() || c.StateKnown || c.Subnet() != netip.MustParsePrefix("10.1.0.0/16") {
		t.Errorf("a container without address and state: %+v", c)
	}
}

func TestHostsByAliasAndByName(t *testing.T) {
	env := sample(t)
	for name, want := range map[string]string{"dns1": "north", "mariadb1": "south", "spare1": "south", "roaming1": "north"} {
		if got := container(t, env, name).Host; got != want {
			t.Errorf("%s is on %q, want %q", name, got, want)
		}
	}
}

func TestHooksKeepTheWholeCommandAndTheOrderOfTheirTime(t *testing.T) {
	var got []string
	for _, h := range container(t, sample(t), "mariadb1").Hooks {
		got = append(got, h.When+" "+h.Command)
	}
	want := []string{
		"precreation /srv/register.py add --type updatecert,register --container mariadb1 --price $5",
		"postcreation /srv/register.py haproxy",
		"postdestroy /srv/register.py remove --container mariadb1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("hooks\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCommonAndServices(t *testing.T) {
	env := sample(t)
	if env.VIP != netip.MustParseAddr("10.1.0.254") || env.VIPName != "vip" || len(env.Common) != 5 || env.Common[4].Line != 6 {
		t.Errorf("common is %+v, vip %s %s", env.Common, env.VIPName, env.VIP)
	}
	if len(env.Services) != 3 || !slices.Equal(env.Services[0].Containers, []string{"mariadb1"}) || !slices.Equal(env.Services[1].Containers, []string{"dns1"}) || env.Services[2].Containers != nil {
		t.Errorf("services are %+v", env.Services)
	}
	if len(env.Unknown) != 0 {
		t.Errorf("unknown keys: %+v", env.Unknown)
	}
}

const head = "containerhosts:\n  host1: &h {ip: 192.0.2.1, port: 3288}\n  host2: {ip: 192.0.2.2, port: 3288}\n"

func TestUnknownKeysAreListedWithTheLikeliest(t *testing.T) {
	env, err := Parse("e", []byte(head+"comon: {}\ncontainers:\n  web1:\n    host: *h\n    imgae: nginx\n    frobnicate: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Unknown{{"comon", 4, "common"}, {"containers.web1.imgae", 8, "image"}, {"containers.web1.frobnicate", 9, ""}}
	if !slices.Equal(env.Unknown, want) {
		t.Errorf("unknown are %+v, want %+v", env.Unknown, want)
	}
}

func TestErrorsNameContainerKeyAndWhatWasMeant(t *testing.T) {
	web := func(body string) string {
		return head + "containers:\n  web1: {host: *h, mask: 16, ip: 10.0.0.2, " + body + "}\n"
	}
	two := func(a, b string) string {
		return head + "containers:\n  web1: {host: *h, " + a + "}\n  web2: {host: *h, " + b + "}\n"
	}
	for what, tc := range map[string]struct {
		text  string
		words []string
	}{
		"no containers":         {head, []string{"e: ", "containers"}},
		"containers mistyped":   {head + "contaners:\n  web1: {}\n", []string{"`contaners` on line 4 mistyped"}},
		"another YAML":          {"services: {}\n", []string{"is it an environment.yaml?"}},
		"number beyond 255":     {web("gateway: 10.0.0.300"), []string{"e:5", "container web1", "gateway", "300 is more than 255"}},
		"comma for a dot":       {web(`gateway: "10.0,0.1"`), []string{"did you mean 10.0.0.1?"}},
		"zeros in front":        {web("dns: 010.000.000.001"), []string{"dns", "did you mean 10.0.0.1?"}},
		"address with mask":     {two("mask: 16, ip: 10.0.0.2/16", ""), []string{"web1", "ip", "did you mean 10.0.0.2?"}},
		"address of words":      {web("gateway: router"), []string{`"router" is no address`, "10.0.0.2"}},
		"address is a list":     {web("gateway: [10.0.0.1]"), []string{"gateway is a list"}},
		"mask too long":         {two("ip: 10.0.0.2, mask: 160", ""), []string{"web1", "mask", "1 to 32"}},
		"mask of IPv6 for IPv4": {two("ip: 10.0.0.2, mask: 64", ""), []string{"web1", "mask 64 is more than 32"}},
		"wildcard for a mask":   {two("ip: 10.0.0.2, mask: 0.0.255.255", ""), []string{"did you mean 16?"}},
		"mask with holes":       {two("ip: 10.0.0.2, mask: 255.0.255.0", ""), []string{"not all in front"}},
		"no mask":               {two("ip: 10.0.0.2", ""), []string{"web1", "no mask", "containerdefault"}},
		"gateway elsewhere":     {web("gateway: 10.1.0.1"), []string{"web1", "10.1.0.1", "10.0.0.0/16"}},
		"the subnet itself":     {two("ip: 10.0.0.0, mask: 16", ""), []string{"first address is 10.0.0.1"}},
		"own gateway":           {web("gateway: 10.0.0.2"), []string{"web1", "own gateway"}},
		"address twice":         {two("ip: 10.0.0.2, mask: 16", "ip: 10.0.0.2, mask: 16"), []string{"e:6", "web2", "web1's address, on line 5"}},
		"the VIP's address":     {"common: {vip: 10.0.0.2}\n" + web(""), []string{"web1", "common.vip"}},
		"host mistyped":         {head + "containers:\n  web1: {host: hots1}\n", []string{"web1", `"hots1"`, "`host1`", "host2 (192.0.2.2)"}},
		"host by a wrong copy":  {head + "containers:\n  web1: {host: {ip: 192.0.2.9}}\n", []string{"web1", "192.0.2.9", "host1 (192.0.2.1)"}},
		"host is a list":        {head + "containers:\n  web1: {host: [x]}\n", []string{"web1", "*host1"}},
		"host missing":          {head + "containers:\n  web1: {image: x}\n", []string{"web1", "host1 (192.0.2.1), host2", "*host1"}},
		"host without hosts":    {"containers:\n  web1: {host: x}\n", []string{"web1", "no `containerhosts:`"}},
		"port":                  {"containerhosts: {h: {port: 70000}}\ncontainers: {web1: {}}\n", []string{"container host h", "70000", "3288"}},
		"state":                 {web("state: maybe"), []string{"web1", "state", "true nor false"}},
		"volume":                {web(`volumes: ["/a::/b"]`), []string{"web1", "/a::/b", "FOLDER"}},
		"volume of no folder":   {web(`volumes: ["$X:/b"]`), []string{"web1", "$X:/b"}},
		"volume to nowhere":     {web(`volumes: ["/a:b"]`), []string{"web1", "/a:b"}},
		"hook is a mapping":     {web("precreation: [{a: b}]"), []string{"web1", "precreation", "quotes"}},
		"mac":                   {web("mac: 02-42"), []string{"web1", "mac", "02:42:0a:00:00:02"}},
		"container's name":      {head + "containers: {-web: {host: *h}}\n", []string{`"-web"`, "letters"}},
		"container is a word":   {head + "containers: {web1: nginx}\n", []string{"container web1", "no mapping"}},
		"container twice":       {head + "containers:\n  web1: {host: *h}\n  web1: {host: *h}\n", []string{"e:6", `"web1" stands twice`}},
		"unknown anchor":        {"containers:\n  web1: {<<: *defaults}\n", []string{"defaults"}},
		"service of nobody":     {head + "containers: {web1: {host: *h}}\nregistered_services: {web: [wbe1]}\n", []string{"registered_services.web", "`web1`"}},
	} {
		_, err := Parse("e", []byte(tc.text))
		if err == nil {
			t.Errorf("%s: no error", what)
			continue
		}
		for _, w := range tc.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q lacks %q", what, err, w)
			}
		}
	}
}

// TestAllThatIsWrongIsSaidAtOnce: a file is mended in one go.
func TestAllThatIsWrongIsSaidAtOnce(t *testing.T) {
	_, err := Parse("e", []byte(head+"containers:\n  a1: {host: *h, ip: x}\n  a2: {host: *h, state: x}\n  a3: {host: x}\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three lines, got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/environment.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(head + "containers: {web1: {host: *h, ip: 10.0.0.300, mask: 255.255.0.0}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		env, err := Parse("e", data)
		if err != nil {
			if !strings.Contains(err.Error(), "e:") {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		for _, c := range env.Containers {
			if c.IP.IsValid() && !c.Subnet().Contains(c.IP) {
				t.Errorf("%s is not in its own subnet %s", c.IP, c.Subnet())
			}
		}
	})
}
