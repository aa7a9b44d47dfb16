package command

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/leasefile"
	"github.com/dockstack/dockstack/internal/nearest"
)

// importing is how a file is taken in.
type importing struct {
	format, network string
	subnets         []string
	dry             bool
}

func (a *app) importCommand() *cobra.Command {
	var in importing
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "import FILE",
		Short: "Reserve the addresses that a file names",
		Long: `Reserves the addresses that a file names, all or nothing; - stands for standard
input. What the file is, is found out; --format says it where that is not clear:
` + wrapWords(leasefile.Readable) + `
DNS records that it has come along, after the addresses; where only they fail it
says so, and the same import once more completes it.

An address that another name keeps is a clash, as is a name that runs with another
address. With one clash nothing is imported (exit code 4), and all of them are
listed; a dry run lists them, too. What the file has that is neither a lease nor a
record is listed with its line.

A subnet that the file names, or --subnet, need not have a network yet: the one
that is created with it takes the addresses over.`,
		Example: `  dockstack import --dry-run /etc/dnsmasq.conf
  dockstack import /var/lib/misc/dnsmasq.leases
  dockstack import --subnet 172.16.0.0/16 /etc/hosts
  dockstack import docker-compose.yml --network internal
  dockstack import environment.yaml`,
		Args: takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notBoth(cmd, "network", "subnet"); err != nil {
				return err
			}
			return a.importFile(cmd.Context(), args[0], in)
		},
	})
	flags := cmd.Flags()
	flags.BoolVar(&in.dry, "dry-run", false, "only say what would happen")
	flags.StringVar(&in.format, "format", "", "what the file is (default: found out)")
	flags.StringVar(&in.network, "network", "", "the network, by name, overlay or subnet, that all addresses are for")
	flags.StringSliceVar(&in.subnets, "subnet", nil, "a subnet that the addresses lie in and that may be yet to come, such as 172.16.0.0/16")
	a.completes(cmd, "format", func(context.Context) []string { return leasefile.Readable })
	a.completes(cmd, "network", a.networks)
	return cmd
}

// wrapWords is a list of words in lines of help.
func wrapWords(words []string) string {
	var lines []string
	line := ""
	for i, w := range words {
		if i < len(words)-1 {
			w += ","
		} else {
			w += "."
		}
		if line != "" && len(line)+1+len(w) > 80 {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return strings.Join(append(lines, line), "\n")
}

// checkFormat refuses formats that there are none of.
func checkFormat(format string, among []string) error {
	if format == "" || slices.Contains(among, format) {
		return nil
	}
	return usage("no format `%s`%s", format, nearest.HintAnd(format, among, "there are "+strings.Join(among, ", ")))
}

func parseSubnets(words []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, w := range words {
		p, err := netip.ParsePrefix(w)
		if err != nil {
			return nil, usage("--subnet `%s` is no subnet; one is 172.16.0.0/16", w)
		}
		if p != p.Masked() {
			return nil, usage("--subnet `%s` has bits behind its mask; did you mean `%s`?", w, p.Masked())
		}
		out = append(out, p)
	}
	return out, nil
}

// imported is what an import says as JSON.
type imported struct {
	Format string `json:"format"`
	admin.Plan
	LeftOut []leasefile.LeftOut `json:"left_out"`
	Domains []string            `json:"domains"`
}

func (a *app) importFile(ctx context.Context, path string, in importing) error {
	if err := checkFormat(in.format, leasefile.Readable); err != nil {
		return err
	}
	subnets, err := parseSubnets(in.subnets)
	if err != nil {
		return err
	}
	data, err := a.readInput(ctx, path, maxInput)
	if err != nil {
		return err
	}
	name := path
	if name == "-" {
		name = "standard input"
	}
	file, err := leasefile.Read(name, data, in.format)
	if err != nil {
		return admin.Errorf(admin.CodeFailed, "%s; nothing was imported", err)
	}
	plan, err := a.daemon().Import(ctx, in.order(file, subnets))
	if refused, ok := errors.AsType[*admin.Error](err); ok && refused.Plan != nil {
		plan = *refused.Plan
	} else if err != nil {
		return err
	}
	if !a.json {
		a.showPlan(file, plan, in)
		a.hintZone(ctx, file.Domains)
		return clashesIn(plan, err)
	}
	out := imported{Format: file.Format, Plan: plan, LeftOut: file.LeftOut, Domains: file.Domains}
	if out.LeftOut == nil {
		out.LeftOut = []leasefile.LeftOut{}
	}
	if out.Domains == nil {
		out.Domains = []string{}
	}
	return errors.Join(a.printJSON(out), clashesIn(plan, err))
}

// order is what the daemon is asked to take in.
func (in importing) order(file leasefile.Result, subnets []netip.Prefix) admin.Import {
	out := admin.Import{Reservations: file.Reservations, Records: file.Records, DryRun: in.dry}
	if in.network == "" {
		out.Subnets = slices.Concat(subnets, file.Subnets)
		slices.SortFunc(out.Subnets, netip.Prefix.Compare)
		out.Subnets = slices.Compact(out.Subnets)
	}
	for i := range out.Reservations {
		switch r := &out.Reservations[i]; {
		case in.network != "":
			r.Network, r.Pool = in.network, ""
		case r.Pool != "":
			r.Network = "" // that is for people
		}
	}
	return out
}

// clashesIn is the error of a plan with clashes, which were listed already.
func clashesIn(plan admin.Plan, err error) error {
	if len(plan.Clashes) == 0 {
		return err
	}
	return admin.Errorf(admin.CodeClash, "nothing was imported: %s", plural(len(plan.Clashes), "clash", "clashes"))
}

func (a *app) showPlan(file leasefile.Result, plan admin.Plan, in importing) {
	if in.dry && len(plan.New) > 0 {
		a.showReservations(plan)
	}
	for _, r := range plan.Records {
		if in.dry {
			a.printf("record  %s\n", recordText(r))
		}
	}
	for _, c := range plan.Clashes {
		a.printf("%s %s\n", a.paint(red, "clash:"), admin.Plain(clashText(c)))
	}
	for _, l := range file.LeftOut {
		a.printf("%s %s: %s (%s)\n", a.paint(yellow, "left out:"), admin.Plain(l.From), admin.Plain(shortenTo(l.What, mostText)), admin.Plain(shortenTo(l.Reason, mostText)))
	}
	if len(plan.Pools) > 0 {
		a.printf("subnets without a network yet: %s\n", strings.Join(plan.Pools, ", "))
	}
	verb := "reserved"
	if !plan.Done {
		verb = "to reserve"
	}
	a.printf("%s: %d %s, %d as before, %d with another address until now, %s, %s, %d left out\n", file.Format, len(plan.New), verb, len(plan.Same), len(plan.Replaced),
		plural(len(plan.Records), "DNS record", "DNS records"), plural(len(plan.Clashes), "clash", "clashes"), len(file.LeftOut))
	if in.dry && len(plan.Clashes) == 0 {
		a.printf("nothing was changed: this was a dry run\n")
	}
}

// hintZone says how the names keep the domain that they had.
func (a *app) hintZone(ctx context.Context, domains []string) {
	if len(domains) == 0 {
		return
	}
	if s, err := a.daemon().Status(ctx); err != nil || strings.EqualFold(s.DNS.Zone, domains[0]) {
		return
	}
	a.printf("names there carry the domain %s; DOCKSTACK_ZONE=%s has dockstack answer for it\n", admin.Plain(domains[0]), admin.Plain(domains[0]))
}

// A file may have anything in the place of a name; what is printed of it is
// enough to find it.
const (
	mostName = 100
	mostText = 500
)

func clashText(c admin.Clash) string {
	r := c.Reservation
	what := shortenTo(r.Name, mostName)
	if r.Address.IsValid() {
		what = strings.TrimSpace(what + " " + r.Address.String())
	}
	if what == "" {
		what = r.Pool
	}
	if r.From != "" {
		what = r.From + ": " + what
	}
	return what + ": " + shortenTo(c.Reason, mostText)
}

func (a *app) showReservations(plan admin.Plan) {
	was := map[string]string{}
	for _, r := range plan.Replaced {
		was[r.Reservation.Name+" "+r.Reservation.Pool] = r.Old.String()
	}
	rows := make([][]cell, len(plan.New))
	for i, r := range plan.New {
		rows[i] = []cell{text(r.Name), text(r.Address.String()), text(r.MAC), text(r.Pool), text(was[r.Name+" "+r.Pool]), text(r.From)}
	}
	a.table([]column{
		{head: "NAME", need: always, soft: 40, least: 8},
		{head: "ADDRESS", need: always},
		{head: "MAC", need: 2},
		{head: "SUBNET", need: 3},
		{head: "BEFORE", need: 4},
		{head: "FROM", need: 1, soft: 30},
	}, rows)
}
