package heal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/engine"
)

// group is an owner and the containers that share its network namespace.
type group struct {
	owner   engine.Container
	members []engine.Container
	// sign is another one whenever the group may need to be looked at: an owner
	// has new endpoints with each start.
	sign string
}

// groupsOf finds all groups, by their owner's id.
func groupsOf(p engine.Picture) map[string]group {
	out := map[string]group{}
	for _, c := range p.Containers {
		if c.Shares == "" {
			continue
		}
		owner := find(p, c.Shares)
		if owner == nil {
			continue
		}
		g := out[owner.ID]
		g.owner = *owner
		g.members = append(g.members, c)
		out[owner.ID] = g
	}
	for id, g := range out {
		slices.SortFunc(g.members, func(a, b engine.Container) int { return strings.Compare(a.ID, b.ID) })
		g.sign = signOf(g)
		if g.owner.Shares != "" {
			g.sign += time.Now().String() // it has no endpoints that would tell
		}
		out[id] = g
	}
	return out
}

// find finds a container as network modes name it: by id, or by name.
func find(p engine.Picture, ref string) *engine.Container {
	for _, is := range []func(c *engine.Container) bool{
		func(c *engine.Container) bool { return c.ID == ref },
		func(c *engine.Container) bool { return c.Name == ref },
	} {
		for i := range p.Containers {
			if is(&p.Containers[i]) {
				return &p.Containers[i]
			}
		}
	}
	return nil
}

// attached tells whether a container's namespace is on a network of ours. It may
// be a member itself.
func attached(p engine.Picture, c *engine.Container, ours func(network string) bool) bool {
	for range len(p.Containers) {
		if c == nil || !c.Running {
			return false
		}
		if c.Shares == "" {
			return slices.ContainsFunc(c.On, func(a engine.Attachment) bool { return ours(a.Network) })
		}
		c = find(p, c.Shares)
	}
	return false // they share each other's
}

func signOf(g group) string {
	var b strings.Builder
	part := func(c engine.Container) {
		fmt.Fprintf(&b, "%s %s %t %s;", c.ID, c.Name, c.Running, c.Labels[Label])
		var on []string
		for _, a := range c.On {
			on = append(on, a.Endpoint)
		}
		slices.Sort(on)
		fmt.Fprint(&b, on)
	}
	part(g.owner)
	for _, m := range g.members {
		part(m)
	}
	return b.String()
}

// wish is what the labels of a member or its owner ask for.
func (g group) wish(member engine.Container) string { return wishOf(member, g.owner) }

// wishOf is what the first of some containers asks for that asks for anything.
func wishOf(containers ...engine.Container) string {
	for _, c := range containers {
		switch strings.ToLower(c.Labels[Label]) {
		case "off", "false", "0", "no":
			return "off"
		case "on", "true", "1", "yes":
			return "on"
		}
	}
	return ""
}
