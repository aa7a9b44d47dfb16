package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/nearest"
)

// dnsTypes are those that are offered; others may be asked for by name.
var dnsTypes = []string{"A", "AAAA", "ANY", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"}

// recordTypes are those that an operator's record may have.
var recordTypes = []string{"A", "AAAA", "CNAME", "PTR", "SRV", "TXT"}

func (a *app) dnsCommand() *cobra.Command {
	from := ""
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "dns NAME [TYPE]",
		Short: "Ask dockstack's DNS, and show where the answer comes from",
		Long: `Asks dockstack's DNS for a name and shows the answer, and where it comes from: a
container, a service, a record of the operator's, the cache, or the resolver that
was asked. An address stands for its reverse name. TYPE is A where it is missing.

With --from, the answer is the one that a client with that address gets: what is
answered can depend on the network that the client is in. A name that does not
exist has exit code 3.`,
		Example: `  dockstack dns rabbitmq1
  dockstack dns _5672._tcp.rabbitmq SRV
  dockstack dns 172.16.0.31
  dockstack dns web --from 172.16.0.9`,
		Args: takes("NAME [TYPE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := admin.Question{Name: args[0]}
			if len(args) > 1 {
				q.Type = args[1]
			}
			return a.ask(cmd.Context(), q, from)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return a.completeNames(cmd, args, begin)
			case 1:
				return dnsTypes, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	})
	cmd.Flags().StringVar(&from, "from", "", "the address of the client that is to ask (default: this host)")
	return cmd
}

func (a *app) ask(ctx context.Context, q admin.Question, from string) error {
	var err error
	if from != "" {
		if q.Client, err = parseAddress(from); err != nil {
			return fmt.Errorf("--from: %w", err)
		}
	}
	if reverse, err := dns.ReverseAddr(q.Name); err == nil {
		q.Name = reverse
		if q.Type == "" {
			q.Type = "PTR"
		}
	}
	q.Type = strings.ToUpper(q.Type)
	if _, known := dns.StringToType[q.Type]; !known && q.Type != "" {
		return usage("no DNS type `%s`%s", q.Type, nearest.HintAnd(q.Type, dnsTypes, "some are "+strings.Join(dnsTypes, ", ")))
	}
	if _, ok := dns.IsDomainName(q.Name); !ok || q.Name == "" {
		return usage("`%s` is no DNS name: at most 255 bytes, in labels of at most 63, with dots between them", q.Name)
	}
	got, err := a.daemon().Ask(ctx, q)
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(got)
	} else {
		a.showAnswer(got)
	}
	if err == nil && got.Rcode == dns.RcodeToString[dns.RcodeNameError] {
		return exit(ExitNotFound)
	}
	if err == nil && got.Rcode != dns.RcodeToString[dns.RcodeSuccess] {
		return exit(ExitFailed)
	}
	return err
}

func (a *app) showAnswer(got admin.Answer) {
	c := red
	if got.Rcode == dns.RcodeToString[dns.RcodeSuccess] {
		c = green
	}
	for _, line := range got.Answers {
		a.printf("%s\n", admin.Plain(strings.ReplaceAll(line, "\t", "  ")))
	}
	what := got.Rcode
	if len(got.Answers) == 0 && c == green {
		what += ", and nothing of that type"
	}
	for _, line := range got.Additional {
		a.printf("%s\n", a.paint(dim, "additional: "+admin.Plain(strings.ReplaceAll(line, "\t", "  "))))
	}
	a.printf("%s in %s: %s\n", a.paint(c, what), got.Took.Round(time.Microsecond), admin.Plain(got.Source))
	for _, line := range got.Authority {
		a.printf("%s\n", a.paint(dim, "authority: "+admin.Plain(strings.ReplaceAll(line, "\t", "  "))))
	}
}
