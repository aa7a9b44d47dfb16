package page

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
)

// nameList is the names that a view shows.
type nameList struct {
	Rows []admin.Lease
	// Found is how many there are in all, From the number of the first row.
	Found, From, Total int
	// Networks and Hosts are what can be picked.
	Networks []string
	Hosts    []string
	Error    string
}

// Last is the number of the last row.
func (n nameList) Last() int { return n.From + len(n.Rows) }

// findNames reads the leases once and keeps no more of them than are shown.
func findNames(ctx context.Context, src Source, v view) (nameList, error) {
	keep := matcher(v)
	t := top{want: v.From + namesAPage, less: ordered(v.Sort)}
	list := nameList{}
	_, err := src.Leases(ctx, func(l admin.Lease) bool {
		list.Total++
		if keep(l) {
			list.Found++
			t.add(l)
		}
		return false
	})
	if err != nil {
		return nameList{}, fmt.Errorf("names can't be read now: %w", err)
	}
	list.From = min(v.From, max(0, list.Found-1)/namesAPage*namesAPage)
	list.Rows = t.sorted()
	list.Rows = slices.Clone(list.Rows[min(list.From, len(list.Rows)):])
	list.Rows = list.Rows[:min(namesAPage, len(list.Rows))]
	return list, nil
}

// top keeps the first of what it is given, in some order.
type top struct {
	want int
	less func(a, b admin.Lease) int
	rows []admin.Lease
}

func (t *top) add(l admin.Lease) {
	t.rows = append(t.rows, l)
	if len(t.rows) >= 2*t.want {
		t.sorted()
		clear(t.rows[t.want:])
		t.rows = t.rows[:t.want]
	}
}

func (t *top) sorted() []admin.Lease {
	slices.SortFunc(t.rows, t.less)
	return t.rows
}

func ordered(by string) func(a, b admin.Lease) int {
	byAddress := func(a, b admin.Lease) int {
		return cmp.Or(a.Address.Compare(b.Address), strings.Compare(a.Pool, b.Pool))
	}
	switch by {
	case sortName:
		return func(a, b admin.Lease) int { return cmp.Or(naturally(a.Name, b.Name), byAddress(a, b)) }
	case sortSince:
		return func(a, b admin.Lease) int { return cmp.Or(b.Since.Compare(a.Since), byAddress(a, b)) }
	}
	return byAddress
}

// matcher tells whether a lease is one of those that a view shows. Each word of
// the query has to be in one of the lease's columns, or be a prefix around its
// address.
func matcher(v view) func(admin.Lease) bool {
	type word struct {
		text   string
		prefix netip.Prefix
	}
	var words []word
	for text := range strings.FieldsSeq(strings.ToLower(v.Query)) {
		w := word{text: text}
		if p, err := netip.ParsePrefix(text); err == nil {
			w.prefix = p.Masked()
		}
		words = append(words, w)
	}
	return func(l admin.Lease) bool {
		switch {
		case v.Network != "" && v.Network != admin.Plain(networkOf(l.Network, l.Pool)),
			v.Host != "" && v.Host != admin.Plain(l.Host) && v.Host != l.HostID,
			v.State == admin.StateReserved && !l.Reserved,
			v.State != "" && v.State != admin.StateReserved && v.State != l.State:
			return false
		}
		for _, w := range words {
			if !w.prefix.Contains(l.Address) && !mentions(l, w.text) {
				return false
			}
		}
		return true
	}
}

func mentions(l admin.Lease, word string) bool {
	for _, column := range []string{l.Name, l.Network, l.Pool, l.Host} {
		if strings.Contains(strings.ToLower(column), word) {
			return true
		}
	}
	var room [64]byte
	return strings.Contains(string(l.Address.AppendTo(room[:0])), word) || strings.Contains(l.MAC, word) ||
		strings.HasPrefix(l.State, word) || l.Reserved && strings.HasPrefix(admin.StateReserved, word)
}
