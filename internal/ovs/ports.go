package ovs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dockstack/dockstack/internal/fabric"
)

// Ports implements fabric.Switch.
func (s *Switch) Ports(ctx context.Context) ([]fabric.Port, error) {
	ses, err := s.current()
	if err != nil {
		return nil, err
	}
	return ses.ports(ctx)
}

// ports reads our bridge's ports. Each has one interface, of its name.
func (s *session) ports(ctx context.Context) ([]fabric.Port, error) {
	br, there, err := s.db.bridge(ctx, s.cfg.Bridge)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, fmt.Errorf("bridge %s was removed: %w", s.cfg.Bridge, ErrDown)
	}
	ports, err := s.db.rows(ctx, "Port")
	if err != nil {
		return nil, err
	}
	mine := map[string]bool{}
	for _, p := range ports {
		if ids := refs(p["_uuid"]); len(ids) == 1 && br.ports[ids[0]] {
			mine[text(p["name"])] = true
		}
	}
	interfaces, err := s.db.rows(ctx, "Interface")
	if err != nil {
		return nil, err
	}
	var out []fabric.Port
	for _, row := range interfaces {
		name := text(row["name"])
		if !mine[name] || name == s.cfg.Bridge {
			continue
		}
		p := fabric.Port{PortSpec: fabric.PortSpec{
			Name: name, Facts: pairs(row["external_ids"]), Type: text(row["type"]), Options: pairs(row["options"]),
		}, Error: text(row["error"])}
		n, given := number(row["ofport"])
		if p.Number = n; p.Error == "" && (!given || n <= 0) {
			p.Number, p.Error = 0, "ovs-vswitchd gave it no number"
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b fabric.Port) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// ChangePorts implements fabric.Switch. ovs-vsctl ends well even when a port
// could not be opened, so what became of them is read back.
func (s *Switch) ChangePorts(ctx context.Context, del []string, add []fabric.PortSpec) ([]fabric.Port, error) {
	ses, err := s.current()
	if err != nil {
		return nil, err
	}
	var args []string
	for _, name := range del {
		args = append(args, "--", "--if-exists", "del-port", s.cfg.Bridge, name)
	}
	for _, p := range add {
		args = append(args, "--", "add-port", s.cfg.Bridge, p.Name,
			"--", "set", "Interface", p.Name, "ofport_request="+strconv.Itoa(p.Number))
		if p.Type != "" {
			args = append(args, "type="+p.Type)
		}
		for _, k := range slices.Sorted(maps.Keys(p.Options)) {
			args = append(args, "options:"+k+"="+strconv.Quote(p.Options[k]))
		}
		for _, k := range slices.Sorted(maps.Keys(p.Facts)) {
			args = append(args, "external_ids:"+k+"="+strconv.Quote(p.Facts[k]))
		}
	}
	if err := ses.vsctl(ctx, args...); err != nil {
		return nil, err
	}
	if len(add) == 0 {
		return nil, nil
	}
	ses.growBuffers(ctx)
	all, err := ses.ports(ctx)
	if err != nil {
		return nil, err
	}
	asked := map[string]bool{}
	for _, p := range add {
		asked[p.Name] = true
	}
	made := slices.DeleteFunc(all, func(p fabric.Port) bool { return !asked[p.Name] })
	if len(made) != len(add) {
		return nil, fmt.Errorf("%d of %d new ports are not there: %w", len(add)-len(made), len(add), ErrDown)
	}
	return made, nil
}
