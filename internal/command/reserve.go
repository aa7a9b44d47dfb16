package command

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
)

func (a *app) reserveCommand() *cobra.Command {
	var r admin.Reserving
	subnet := ""
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "reserve NAME [ADDRESS]",
		Short: "Keep an address for a name",
		Long: `Keeps an address for a container's name, for good: it goes to nobody else, also
while no container has the name. Without ADDRESS the name keeps the one that it
has. With --subnet the network may be yet to come: the one that is created with
that subnet takes the address over.

It is refused (exit code 4) where a running container has the address, or where
it is reserved for another name. The name of a running container keeps the
address with which it runs. An address that is only parked for another name is
taken from it, except with --subnet, which goes by the rules of ` + "`dockstack import`" + `.`,
		Example: `  dockstack reserve rabbitmq1 172.16.0.31
  dockstack reserve rabbitmq1 172.16.0.31 --mac 02:00:00:00:01:1f
  dockstack reserve web --network internal
  dockstack reserve web 172.16.0.40 --subnet 172.16.0.0/16`,
		Args: takes("NAME [ADDRESS]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := readReserving(cmd, args, subnet, &r); err != nil {
				return err
			}
			l, err := a.daemon().Reserve(cmd.Context(), r)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(l)
			}
			before := ""
			if l.Before.IsValid() {
				before = "; before, it had " + l.Before.String()
			}
			a.printf("%s in %s is reserved for %s (%s)%s\n", l.Address, admin.Plain(networkOf(l.Lease)), admin.Plain(l.Name), l.MAC, before)
			return nil
		},
		ValidArgsFunction: a.completeName,
	})
	cmd.Flags().StringVar(&r.MAC, "mac", "", "the MAC address that the container is to have (default: the one that follows from the address)")
	cmd.Flags().StringVar(&subnet, "subnet", "", "the subnet that the address lies in and whose network may be yet to come, such as 172.16.0.0/16")
	a.networkFlags(cmd, &r.Network, &r.Pool)
	return cmd
}

// readReserving puts what was typed into an order.
func readReserving(cmd *cobra.Command, args []string, subnet string, r *admin.Reserving) error {
	r.Name = args[0]
	for _, flags := range [][2]string{{"network", "pool"}, {"subnet", "network"}, {"subnet", "pool"}} {
		if err := notBoth(cmd, flags[0], flags[1]); err != nil {
			return err
		}
	}
	if cmd.Flags().Changed("subnet") {
		subnets, err := parseSubnets([]string{subnet})
		if err != nil {
			return err
		}
		r.Subnet = subnets[0]
	}
	if len(args) > 1 {
		var err error
		if r.Address, err = parseAddress(args[1]); err != nil {
			return err
		}
	}
	if r.MAC != "" {
		if _, err := net.ParseMAC(r.MAC); err != nil {
			return usage("`%s` is no MAC address; one is 02:00:00:00:01:1f", r.MAC)
		}
	}
	return nil
}

// networkFlags are the flags that say which network is meant.
func (a *app) networkFlags(cmd *cobra.Command, network, pool *string) {
	cmd.Flags().StringVar(network, "network", "", "the network, by name, overlay or subnet, where several are possible")
	cmd.Flags().StringVar(pool, "pool", "", "the pool, by its id (it is in what ls --json prints), where even the network's name is not clear")
	a.completes(cmd, "network", a.networks)
}

// notBoth refuses two flags that exclude each other.
func notBoth(cmd *cobra.Command, one, other string) error {
	if cmd.Flags().Changed(one) && cmd.Flags().Changed(other) {
		return usage("--%s and --%s exclude each other", one, other)
	}
	return nil
}

// parseAddress reads an address and says what is meant by one that is none.
func parseAddress(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err == nil && addr.Zone() == "" {
		return addr.Unmap(), nil
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return netip.Addr{}, usage("`%s` is no address: it has a prefix length; did you mean `%s`?", text, p.Addr())
	}
	if bare, _, zone := strings.Cut(text, "%"); zone {
		if addr, err := netip.ParseAddr(bare); err == nil {
			return netip.Addr{}, usage("`%s` is no address of a container: it has an interface; did you mean `%s`?", text, addr)
		}
	}
	return netip.Addr{}, usage("`%s` is no address; one is 172.16.0.31 or fd00::1f", text)
}

func (a *app) releaseCommand() *cobra.Command {
	var t admin.Target
	cmd := &cobra.Command{
		Use:   "release NAME",
		Short: "Give up what is kept for a name",
		Long: `Gives up the address that is kept for a name, reserved or only parked. Its next
container gets whichever address is free then.

It is refused (exit code 4) while a container runs under the name: stop it first.
Without --network, the name is given up in all networks.`,
		Example: `  dockstack release rabbitmq1
  dockstack release rabbitmq1 --network internal`,
		Args: takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.Name = args[0]
			if err := notBoth(cmd, "network", "pool"); err != nil {
				return err
			}
			if err := a.daemon().Release(cmd.Context(), t); err != nil {
				return err
			}
			a.printf("%s is released\n", admin.Plain(t.Name))
			return nil
		},
		ValidArgsFunction: a.completeName,
	}
	a.networkFlags(cmd, &t.Network, &t.Pool)
	return cmd
}

func (a *app) renameCommand() *cobra.Command {
	var r admin.Rename
	cmd := &cobra.Command{
		Use:   "rename OLD NEW",
		Short: "Give what is kept for one name to another",
		Long: `Gives the addresses that are kept for one name to another, for a container that
will come under a new name.

It is refused (exit code 4) while a container runs under the old name: ` + "`docker\nrename OLD NEW`" + ` renames it, and its address goes with it. It is also refused
where something is kept for the new name: release that first.`,
		Example: `  dockstack rename rabbitmq rabbitmq1`,
		Args:    takes("OLD NEW"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Name, r.To = args[0], args[1]
			if err := notBoth(cmd, "network", "pool"); err != nil {
				return err
			}
			if err := a.daemon().Rename(cmd.Context(), r); err != nil {
				return err
			}
			a.printf("what was kept for %s is kept for %s\n", admin.Plain(r.Name), admin.Plain(r.To))
			return nil
		},
		ValidArgsFunction: a.completeName,
	}
	a.networkFlags(cmd, &r.Network, &r.Pool)
	return cmd
}

func (a *app) hostCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Look after the hosts that share names",
		Long: `Looks after the hosts that share a store. ` + "`dockstack status`" + ` lists those that
are alive.`,
		Args: a.ownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	forget := &cobra.Command{
		Use:   "forget NAME|ID",
		Short: "Forget a machine that is gone for good",
		Long: `Forgets a host that never comes back: what it was in the middle of is undone, its
networks go, and its names are nobody's any more. They keep their addresses. Names
start elsewhere without this, too; it is for what the host leaves behind.

It is refused (exit code 4) while the host is alive. One that comes back all the
same says again what runs on it.`,
		Example: `  dockstack host forget node3
  dockstack host forget 6f1d0c5c9e2b4a77`,
		Args: takes("NAME|ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.daemon().ForgetHost(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			a.printf("host %s is forgotten\n", admin.Plain(cmp.Or(h.Name, h.ID)))
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.offered(cmd.Context(), a.goneHosts, begin), cobra.ShellCompDirectiveNoFileComp
		},
	}
	ls := a.jsonFlag(&cobra.Command{
		Use:     "ls",
		Short:   "List the hosts that are known",
		Long:    "Lists the hosts that share the store and are alive, and those that names ran on.",
		Example: "  dockstack host ls",
		Args:    takes(""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.hostList(cmd.Context()) },
	})
	cmd.AddCommand(ls, forget)
	return cmd
}

// goneHosts are those that can be forgotten.
func (a *app) goneHosts(ctx context.Context) []string {
	found, err := a.daemon().Hosts(ctx)
	if err != nil {
		return nil
	}
	var out []string
	for _, h := range found {
		if h.Version == "" {
			out = append(out, cmp.Or(h.Name, h.ID))
		}
	}
	return out
}

func (a *app) hostList(ctx context.Context) error {
	found, err := a.daemon().Hosts(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(found)
	}
	rows := make([][]cell, len(found))
	for i, h := range found {
		vtep, state := "", painted(green, "alive")
		if h.VTEP.IsValid() {
			vtep = h.VTEP.String()
		}
		if h.Version == "" {
			state = painted(dim, "gone")
		}
		if h.Self {
			state.text += ", this host"
		}
		rows[i] = []cell{text(h.Name), text(h.ID), text(vtep), number(h.Live), text(ago(a.Now(), h.Since)), text(h.Version), state}
	}
	a.table([]column{
		{head: "NAME", need: always, soft: 30, least: 8},
		{head: "ID", need: 5},
		{head: "TUNNELS END AT", need: 3},
		{head: "LIVE", need: 4, right: true},
		{head: "SINCE", need: 2},
		{head: "VERSION", need: 1},
		{head: "STATE", need: always},
	}, rows)
	return nil
}
