package command

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
)

func (a *app) lsCommand() *cobra.Command {
	var f admin.Filter
	reserved := false
	cmd := a.jsonFlag(&cobra.Command{
		Use:     "ls [NAME...]",
		Aliases: []string{"list"},
		Short:   "List names and their addresses",
		Long: `Lists the names that have an address: which address and MAC, in which network,
on which host, whether a container runs under the name (live) or its address is
kept for it (parked), since when, and what else holds it: reserved by an
operator, or fixed by the container itself (--ip, ipv4_address).

Words may have *, ? and [a-z] in them; quote them for the shell. A flag may come
several times, and then one of its words has to fit. A name, network or host that
there is none of is an error (exit code 3), a pattern that nothing fits is not.`,
		Example: `  dockstack ls
  dockstack ls 'rabbitmq*'
  dockstack ls --address 172.16.0.0/24 --state parked
  dockstack ls --network internal --reserved
  dockstack ls --host node2 --json`,
		Args: takes("[NAME...]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := noEmptyWord(cmd, args); err != nil {
				return err
			}
			f.Names = append(slices.Clone(f.Names), args...)
			if reserved {
				f.States = append(f.States, admin.StateReserved)
				if len(f.States) > 1 {
					return usage("--reserved and --state exclude each other: --state %s,%s lists both", f.States[0], admin.StateReserved)
				}
			}
			return a.ls(cmd.Context(), f)
		},
		ValidArgsFunction: a.completeNames,
	})
	flags := cmd.Flags()
	flags.StringSliceVar(&f.Names, "name", nil, "only these names")
	flags.StringSliceVar(&f.Addresses, "address", nil, "only these addresses; a prefix such as 172.16.0.0/24 takes all in it")
	flags.StringSliceVar(&f.MACs, "mac", nil, "only these MAC addresses")
	flags.StringSliceVar(&f.Networks, "network", nil, "only these networks, by name, overlay or subnet")
	flags.StringSliceVar(&f.Hosts, "host", nil, "only these hosts, by name or id")
	flags.StringSliceVar(&f.States, "state", nil, "only these states: "+strings.Join(admin.States, ", "))
	flags.BoolVar(&reserved, "reserved", false, "only those that an operator reserved")
	a.completes(cmd, "name", a.names)
	a.completes(cmd, "network", a.networks)
	a.completes(cmd, "host", a.hosts)
	a.completes(cmd, "state", func(context.Context) []string { return admin.States })
	return cmd
}

// noEmptyWord refuses what a shell variable that is not set leaves: without the
// word all would be listed, which is not what was meant.
func noEmptyWord(cmd *cobra.Command, args []string) error {
	for _, flag := range []string{"name", "address", "mac", "network", "host", "state"} {
		words, err := cmd.Flags().GetStringSlice(flag)
		if err == nil && cmd.Flags().Changed(flag) && (len(words) == 0 || slices.Contains(words, "")) {
			return usage("--%s has an empty word, as of a shell variable that is not set; leave it out for all", flag)
		}
	}
	if slices.Contains(args, "") {
		return usage("a NAME is empty, as of a shell variable that is not set; leave it out for all")
	}
	return nil
}

func (a *app) ls(ctx context.Context, f admin.Filter) error {
	found, err := a.daemon().Leases(ctx, f)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(found)
	}
	if len(found) == 0 {
		if len(f.Query()) > 0 {
			a.notef("nothing fits\n")
		} else {
			a.notef("no names yet: a name comes with its first container on one of dockstack's networks, with `dockstack reserve` or with `dockstack import`\n")
		}
		return nil
	}
	slices.SortStableFunc(found, func(x, y admin.Lease) int { return strings.Compare(networkOf(x), networkOf(y)) })
	rows := make([][]cell, len(found))
	for i, l := range found {
		rows[i] = []cell{
			text(l.Name), text(l.Address.String()), text(l.MAC), text(networkOf(l)), text(l.Host), stateCell(l), text(ago(a.Now(), l.Since)),
		}
	}
	a.table([]column{
		{head: "NAME", need: always, soft: 30, least: 8},
		{head: "ADDRESS", need: always},
		{head: "MAC", need: 1},
		{head: "NETWORK", need: 5, soft: 16, least: 8},
		{head: "HOST", need: 4, soft: 14, least: 6},
		{head: "STATE", need: always},
		{head: "SINCE", need: 3},
	}, rows)
	return nil
}

// networkOf is what people call the lease's network.
func networkOf(l admin.Lease) string {
	if l.Network != "" {
		return l.Network
	}
	return l.Pool
}

func stateCell(l admin.Lease) cell {
	words, c := l.State, green
	if l.State == admin.StateParked {
		c = dim
	}
	if l.Fixed {
		words += ", fixed"
	}
	if l.Reserved {
		words += ", reserved"
		if c == dim {
			c = yellow
		}
	}
	return painted(c, words)
}

// ago is how long something is past.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	d := max(now.Sub(then), 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
