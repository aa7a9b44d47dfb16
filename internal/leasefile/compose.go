package leasefile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/nearest"
	"github.com/dockstack/dockstack/internal/yamldoc"
)

// composeReader takes the fixed addresses out of a compose file. Compose's own
// library reads it, so that what it says is what `docker-compose up` makes of it;
// the text is read beside that for its lines.
type composeReader struct {
	*builder
	project *types.Project
	// parts are what stands under the top keys, by its name: services, networks.
	parts map[string]map[string]yamldoc.Pair
	// tops are the lines of the top keys.
	tops map[string]int
}

func (s source) readCompose(b *builder) error {
	doc, err := yamldoc.Parse(s.name, s.data)
	if err != nil {
		return err
	}
	c := composeReader{builder: b, parts: map[string]map[string]yamldoc.Pair{}, tops: map[string]int{}}
	c.index(doc)
	if c.project, err = s.loadProject(); err != nil {
		return c.composeError(err)
	}
	services := slices.Collect(maps.Values(c.project.AllServices()))
	line := func(name string) int { return c.line("services", name) }
	slices.SortFunc(services, func(x, y types.ServiceConfig) int {
		return cmp.Or(cmp.Compare(line(x.Name), line(y.Name)), cmp.Compare(x.Name, y.Name))
	})
	for i := range services {
		c.service(&services[i])
	}
	for _, name := range slices.Sorted(maps.Keys(c.project.Networks)) {
		for _, pool := range c.project.Networks[name].Ipam.Config {
			if p, err := netip.ParsePrefix(pool.Subnet); err == nil {
				c.subnet(p)
			}
		}
	}
	return nil
}

// loadProject reads the project as Compose does. The library has panicked on
// broken files before; that is an error like another.
func (s source) loadProject() (p *types.Project, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("the library of Compose gave up on it: %v; does `docker-compose config -q` take it?", r)
		}
	}()
	logrus.SetLevel(logrus.ErrorLevel) // it warns of the version and of unset variables, which are errors here where they matter
	dir := filepath.Dir(s.name)
	if s.name == "" || s.name == "-" {
		dir = "."
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	env, err := s.environment(dir)
	if err != nil {
		return nil, err
	}
	details := types.ConfigDetails{WorkingDir: dir, Environment: env, ConfigFiles: []types.ConfigFile{{Filename: s.name, Content: s.data}}}
	return loader.LoadWithContext(context.Background(), details, func(o *loader.Options) {
		o.SkipConsistencyCheck, o.SkipResolveEnvironment, o.SkipResolveLabels, o.ResolvePaths = true, true, true, false
		if name, ok := env["COMPOSE_PROJECT_NAME"]; ok && name != "" {
			o.SetProjectName(name, true)
		} else {
			o.SetProjectName(cmp.Or(loader.NormalizeProjectName(filepath.Base(dir)), "project"), false)
		}
		if !s.files {
			o.SkipInclude, o.ResourceLoaders = true, []loader.ResourceLoader{noFiles{}}
		}
	})
}

// environment is what variables are looked up in: that of the process, then .env
// beside the file.
func (s source) environment(dir string) (types.Mapping, error) {
	if !s.files {
		return types.Mapping{}, nil
	}
	env := types.NewMapping(os.Environ())
	file := filepath.Join(dir, ".env")
	st, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.IsDir() {
		return env, nil
	}
	more, err := dotenv.GetEnvFromFile(env, []string{file})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return env.Merge(more), nil
}

// noFiles refuses other files.
type noFiles struct{}

func (noFiles) Accept(string) bool  { return true }
func (noFiles) Dir(p string) string { return p }
func (noFiles) Load(_ context.Context, p string) (string, error) {
	return "", fmt.Errorf("another file, %q, is not read", p)
}

// index finds the lines of services and networks once. What is no mapping is
// Compose's to complain of.
func (c composeReader) index(doc *yamldoc.Doc) {
	pairs, _ := doc.Top().Map()
	for _, top := range pairs {
		c.tops[top.Key] = top.Line
		c.parts[top.Key] = map[string]yamldoc.Pair{}
		below, _ := top.Value.Map()
		for _, p := range below {
			c.parts[top.Key][p.Key] = p
		}
	}
}

// line is where a path of keys stands, or the nearest of its beginning.
func (c composeReader) line(path ...string) int {
	if len(path) < 2 {
		return c.tops[path[0]]
	}
	part, ok := c.parts[path[0]][path[1]]
	if !ok {
		return c.tops[path[0]]
	}
	line, value := part.Line, part.Value
	for _, key := range path[2:] {
		below, at, ok := value.Get(key)
		if !ok {
			break
		}
		line, value = at, below
	}
	return line
}

// badKey is how Compose says that it does not know one, and badPath what stands
// in front of its complaints.
var (
	badKey  = regexp.MustCompile(`additional properties '([^']*)'`)
	badPath = regexp.MustCompile(`(?:services|networks)(?:\.[a-zA-Z0-9_.-]+)`)
)

// composeKeys are the keys that addresses hang on.
var composeKeys = []string{
	"services", "networks", "name", "include", "image", "container_name", "hostname", "domainname", "extends", "scale", "deploy", "replicas", "mac_address",
	"network_mode", "ipv4_address", "ipv6_address", "link_local_ips", "aliases", "priority", "driver", "driver_opts", "ipam", "config", "subnet", "gateway",
	"ip_range", "aux_addresses", "external", "volumes", "dns", "dns_search", "environment", "restart", "ports", "profiles", "depends_on",
}

// composeError is Compose's error with the line, and with what may have been
// meant.
func (c composeReader) composeError(err error) error {
	text := strings.TrimPrefix(err.Error(), "validating "+c.file+": ")
	line := 0
	if path := badPath.FindString(text); path != "" {
		line = c.line(strings.Split(path, ".")...)
		if m := badKey.FindStringSubmatch(text); m != nil {
			if deeper := c.line(append(strings.Split(path, "."), m[1])...); deeper > 0 {
				line = deeper
			}
		}
	}
	if m := badKey.FindStringSubmatch(text); m != nil {
		if line == 0 {
			line = c.line(m[1])
		}
		text += nearest.Hint(m[1], composeKeys)
	}
	return fmt.Errorf("%s: %s", c.at(line), text)
}

// service takes one service's fixed addresses.
func (c composeReader) service(svc *types.ServiceConfig) {
	name := svc.ContainerName
	if name == "" {
		name = c.project.Name + "-" + svc.Name + "-1"
	}
	var main string
	if byPriority := svc.NetworksByPriority(); len(byPriority) > 0 {
		main = byPriority[0]
	}
	fixed, anyMAC := 0, svc.MacAddress != ""
	for _, key := range slices.Sorted(maps.Keys(svc.Networks)) {
		n := svc.Networks[key]
		if n == nil {
			n = &types.ServiceNetworkConfig{}
		}
		mac := n.MacAddress
		anyMAC = anyMAC || mac != ""
		if mac == "" && key == main {
			mac = svc.MacAddress
		}
		for _, a := range []struct{ key, text string }{{"ipv4_address", n.Ipv4Address}, {"ipv6_address", n.Ipv6Address}} {
			fixed += c.fixedAddress(svc, name, key, a.key, a.text, mac)
		}
		if len(n.LinkLocalIPs) > 0 {
			c.leave(c.line("services", svc.Name, "networks", key, "link_local_ips"), svc.Name+" "+strings.Join(n.LinkLocalIPs, " "), "are link-local addresses, which belong to no network")
		}
	}
	line := c.line("services", svc.Name)
	switch scale := svc.GetScale(); {
	case fixed > 0 && scale > 1:
		c.wrong.Add(c.at(line), "service %s has a fixed address and %d replicas; they can't all have it: take the address away, or write a service for each", svc.Name, scale)
	case fixed == 0 && anyMAC:
		c.leave(line, svc.Name, "has a MAC but no fixed address; the engine gives it the MAC when the container starts")
	case fixed == 0 && svc.NetworkMode != "":
		c.leave(line, svc.Name, "has network_mode %s and no network of its own", plain(svc.NetworkMode))
	case fixed == 0:
		c.leave(line, svc.Name, "has no fixed address; dockstack gives the next free one and keeps it")
	}
}

// fixedAddress takes one address, and tells how many it took.
func (c composeReader) fixedAddress(svc *types.ServiceConfig, name, network, key, text, mac string) int {
	line := c.line("services", svc.Name, "networks", network, key)
	where := fmt.Sprintf("service %s, network %s: %s", svc.Name, network, key)
	if text == "" {
		if v, _, ok := c.parts["services"][svc.Name].Value.Get("networks", network, key); ok {
			if raw, _ := v.Scalar(); raw != "" {
				c.wrong.Add(c.at(line), "%s %q comes out empty; set the variable in the environment or in .env beside the file", where, plain(raw))
			}
		}
		return 0
	}
	addr, err := parseAddr(text)
	if err != nil {
		c.wrong.Add(c.at(line), "%s %w", where, err)
		return 0
	}
	if addr.Is4() != (key == "ipv4_address") {
		c.wrong.Add(c.at(line), "%s %s is of the other family; did you mean %s?", where, addr, map[bool]string{true: "ipv4_address", false: "ipv6_address"}[addr.Is4()])
		return 0
	}
	r := admin.Reservation{Name: name, Address: addr}
	if mac != "" {
		if r.MAC, err = parseMAC(mac); err != nil {
			c.wrong.Add(c.at(c.line("services", svc.Name, "networks", network, "mac_address")), "service %s, network %s: %w", svc.Name, network, err)
			return 0
		}
	}
	pool, err := c.pool(network, addr)
	if err != nil {
		c.wrong.Add(c.at(line), "%s %s %w", where, addr, err)
		return 0
	}
	r.Pool = pool
	c.reserve(line, r)
	return 1
}

// pool is the id of the pool that an address of a network is in, where the
// network has an overlay of its own name; "" is whichever pool has the address.
func (c composeReader) pool(network string, addr netip.Addr) (string, error) {
	n := c.project.Networks[network]
	var subnets []string
	for _, config := range n.Ipam.Config {
		p, err := netip.ParsePrefix(config.Subnet)
		if err != nil || p.Addr().Is4() != addr.Is4() {
			continue
		}
		if !p.Contains(addr) {
			subnets = append(subnets, config.Subnet)
			continue
		}
		if overlay := n.DriverOpts["dockstack.overlay"]; overlay != "" {
			return p.Masked().String() + "@" + overlay, nil
		}
		return "", nil
	}
	if len(subnets) > 0 {
		return "", fmt.Errorf("is not in the network's subnet, %s", strings.Join(subnets, ", "))
	}
	return "", nil
}
