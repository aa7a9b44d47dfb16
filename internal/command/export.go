package command

import (
	"context"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/leasefile"
	"github.com/dockstack/dockstack/ipam"
)

// exportFormats are what an export may be, by --format's word.
var exportFormats = map[string]string{
	"yaml": leasefile.YAML, "json": leasefile.JSON, "hosts": leasefile.Hosts, "dnsmasq": leasefile.DnsmasqConf,
}

var exportWords = []string{"yaml", "hosts", "dnsmasq", "json"}

func (a *app) exportCommand() *cobra.Command {
	format, networks, reserved := "", []string(nil), false
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write names and addresses as a file",
		Long: `Writes all names with their addresses, live, parked and reserved, and your DNS
records, to FILE or standard output. What a format has no room for is listed on
standard error. ` + "`dockstack import`" + ` takes each format back; to keep a copy of all,
see ` + "`dockstack backup`" + `.

Formats: yaml (the default), json, hosts (/etc/hosts), dnsmasq (its configuration).`,
		Example: `  dockstack export leases.yaml
  dockstack export --format hosts >> /etc/hosts
  dockstack export --format dnsmasq --network internal`,
		Args: takes("[FILE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format, exportWords); err != nil {
				return err
			}
			filter := admin.Filter{Networks: networks}
			if reserved {
				filter.States = []string{admin.StateReserved}
			}
			path := ""
			if len(args) > 0 {
				path = args[0]
			}
			return a.export(cmd.Context(), path, exportFormats[format], filter)
		},
	}
	cmd.Flags().StringVar(&format, "format", "yaml", "yaml, hosts, dnsmasq or json")
	cmd.Flags().StringSliceVar(&networks, "network", nil, "only these networks, by name, overlay or subnet")
	cmd.Flags().BoolVar(&reserved, "reserved", false, "only what an operator reserved")
	a.completes(cmd, "format", func(context.Context) []string { return exportWords })
	a.completes(cmd, "network", a.networks)
	return cmd
}

func (a *app) export(ctx context.Context, path, format string, filter admin.Filter) error {
	leases, err := a.daemon().Leases(ctx, filter)
	if err != nil {
		return err
	}
	var records []admin.Record
	if len(filter.Networks) == 0 {
		if records, err = a.daemon().Records(ctx); err != nil {
			return err
		}
	}
	data, leftOut, err := leasefile.Write(format, exported(leases, records))
	if err != nil {
		return err
	}
	if err := a.putOut(path, data); err != nil {
		return err
	}
	for _, l := range leftOut {
		a.notef("%s %s (%s)\n", a.errPaint(yellow, "left out:"), admin.Plain(l.What), admin.Plain(l.Reason))
	}
	if path != "" && path != "-" {
		a.printf("%s, %s to %s\n", plural(len(leases), "address", "addresses"), plural(len(records), "DNS record", "DNS records"), admin.Plain(path))
	}
	return nil
}

// exported is what goes to a file. MAC addresses that follow from addresses are
// left out: they follow from them wherever the file is read.
func exported(leases []admin.Lease, records []admin.Record) leasefile.Content {
	follow := map[string][]string{}
	for _, l := range leases {
		follow[l.Name] = append(follow[l.Name], ipam.MAC(l.Address).String())
	}
	out := leasefile.Content{Records: records}
	for _, l := range leases {
		r := admin.Reservation{Name: l.Name, Address: l.Address, Network: l.Network, Pool: l.Pool}
		if !slices.Contains(follow[l.Name], l.MAC) {
			r.MAC = l.MAC
		}
		out.Reservations = append(out.Reservations, r)
		if subnet, _, err := ipam.ParsePoolID(l.Pool); err == nil {
			out.Subnets = append(out.Subnets, subnet)
		}
	}
	slices.SortFunc(out.Subnets, netip.Prefix.Compare)
	out.Subnets = slices.Compact(out.Subnets)
	return out
}
