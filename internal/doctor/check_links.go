package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

func (x *exam) links(ctx context.Context) error {
	links, err := x.Links.List(ctx, linkPrefix)
	if err != nil {
		return err
	}
	want, err := x.Fabric.Wanted(ctx)
	if err != nil {
		return err
	}
	var unknown error
	for _, l := range links {
		switch {
		case want.Links[l.Name]:
		case strings.HasPrefix(l.Alias, aliasMark) && !want.Known:
			unknown = errUnknown
		case strings.HasPrefix(l.Alias, aliasMark):
			x.add(Finding{ID: "stale-link", Subject: l.Name, What: fmt.Sprintf("interface %s is dockstack's and belongs to nothing (%s)", l.Name, short(l.Alias))})
		case ourName(l.Name) && want.Ports[l.Name] == "":
			x.add(Finding{
				ID: "foreign-link", Subject: l.Name, What: fmt.Sprintf("interface %s is named like dockstack's, but is not", l.Name),
				Command: "ip link delete " + quote(l.Name),
			})
		}
	}
	return unknown
}

// raised looks for links of ours that somebody set down or made smaller.
func (x *exam) raised(ctx context.Context) error {
	want, err := x.Fabric.Wanted(ctx)
	if err != nil {
		return err
	}
	ports, err := x.Links.List(ctx, linkPrefix)
	if err != nil {
		return err
	}
	inner, err := x.Links.List(ctx, innerPrefix)
	if err != nil {
		return err
	}
	for _, l := range slices.Concat(ports, inner) {
		mtu, ours := want.Raised[l.Name]
		if !ours {
			continue
		}
		whose := cmp.Or(want.Ports[l.Name], "the host's own end of a gateway")
		if l.Down {
			x.add(Finding{ID: "link-down", Subject: l.Name, What: fmt.Sprintf("interface %s (%s) is set down", l.Name, whose)})
		}
		if l.MTU > 0 && l.MTU < mtu {
			x.add(Finding{ID: "link-mtu", Subject: l.Name, What: fmt.Sprintf("interface %s (%s) has the MTU %d, and its network %d", l.Name, whose, l.MTU, mtu)})
		}
	}
	return nil
}

// ourName is whether a link is named as only dockstack's are: ds, a letter for
// what it is, and a hash or a number.
func ourName(name string) bool {
	rest, ok := strings.CutPrefix(name, linkPrefix)
	if !ok || len(rest) < 2 || !strings.Contains("egv", rest[:1]) {
		return false
	}
	hex := strings.Trim(rest[1:], "0123456789abcdef") == ""
	return hex && (rest[0] == 'v' || len(rest) == 12)
}
