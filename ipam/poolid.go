package ipam

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// maxOverlay is the longest name of an overlay in bytes. With it and maxName
// a lease's key stays below what every store takes.
const maxOverlay = 255

// PoolID is the id of the pool of a subnet in an overlay: the subnet itself,
// followed by @ and the overlay's name where there is one. It follows from
// nothing else, so it survives a lost store.
func PoolID(subnet netip.Prefix, overlay string) string {
	id := subnet.String()
	if overlay != "" {
		id += "@" + url.PathEscape(overlay)
	}
	return id
}

// ParsePoolID is the reverse of PoolID; it takes only what PoolID makes.
func ParsePoolID(id string) (subnet netip.Prefix, overlay string, err error) {
	cidr, escaped, named := strings.Cut(id, "@")
	if subnet, err = netip.ParsePrefix(cidr); err != nil {
		return netip.Prefix{}, "", fmt.Errorf("%w: %q is no pool id: want a subnet such as 172.16.0.0/16", ErrUnknownPool, id)
	}
	if named {
		if overlay, err = url.PathUnescape(escaped); err != nil {
			return netip.Prefix{}, "", fmt.Errorf("%w: %q is no pool id: %w", ErrUnknownPool, id, err)
		}
	}
	if subnet != subnet.Masked() || PoolID(subnet, overlay) != id {
		return netip.Prefix{}, "", fmt.Errorf("%w: %q is no pool id: it is not in the form that dockstack writes", ErrUnknownPool, id)
	}
	return subnet, overlay, nil
}
