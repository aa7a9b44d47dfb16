package command

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/nearest"
)

func (a *app) recordCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "record",
		Short: "Look after your own DNS records",
		Long: `Looks after the DNS records that stand beside the containers' names: static hosts,
aliases, wildcards, services. Hosts that share a store share them. A running
container's own name goes before a record, a record before a service's name.

A NAME without a dot is one in the zone. *.apps.endor.lab stands for all that has
no records of its own below apps.endor.lab.`,
		Args: a.ownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.recordAddCommand(), a.recordRemoveCommand(), a.recordListCommand())
	return cmd
}

// recordType checks a type that the user gave.
func recordType(word string) (string, error) {
	up := strings.ToUpper(word)
	if slices.Contains(recordTypes, up) {
		return up, nil
	}
	return "", usage("no type of record `%s`%s", word, nearest.HintAnd(up, recordTypes, "there are "+strings.Join(recordTypes, ", ")))
}

func (a *app) recordAddCommand() *cobra.Command {
	var r admin.Record
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "add NAME TYPE VALUE...",
		Short: "Add a DNS record",
		Long: `Adds a record, or gives one that is there another TTL. VALUE is what a zone file
has. Of the same name and type there may be several, except for CNAME.

Types: ` + strings.Join(recordTypes, ", ") + `.`,
		Example: `  dockstack record add gateway A 172.16.0.1
  dockstack record add www CNAME web
  dockstack record add '*.apps.endor.lab' A 172.16.0.40
  dockstack record add _ldap._tcp SRV 10 5 389 directory.endor.lab
  dockstack record add info TXT 'kept by ops'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) >= 3 {
				return nil
			}
			return takes("NAME TYPE VALUE")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if r.Type, err = recordType(args[1]); err != nil {
				return err
			}
			r.Name, r.Value = args[0], recordValue(r.Type, args[2:])
			got, err := a.daemon().AddRecord(cmd.Context(), r)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(got)
			}
			a.printf("%s\n", recordText(got))
			return nil
		},
		ValidArgsFunction: completeRecord,
	})
	cmd.Flags().Uint32Var(&r.TTL, "ttl", 0, "how long answers may be kept, in seconds (default: as for containers)")
	return cmd
}

// recordValue is the data as a zone file has it. A text is one string, however
// many words a shell made of it.
func recordValue(kind string, words []string) string {
	value := strings.Join(words, " ")
	if kind == "TXT" && !strings.HasPrefix(value, `"`) {
		return zoneText(value)
	}
	return value
}

// zoneText is a text as a zone file has it, which writes bytes that are no
// letters in another way than Go.
func zoneText(value string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(value) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			_, _ = fmt.Fprintf(&b, `\%03d`, c) // into memory
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// completeRecord completes NAME TYPE.
func completeRecord(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return recordTypes, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func recordText(r admin.Record) string {
	ttl := ""
	if r.TTL != 0 {
		ttl = fmt.Sprintf(" (TTL %d)", r.TTL)
	}
	return admin.Plain(fmt.Sprintf("%s %s %s%s", r.Name, r.Type, r.Value, ttl))
}

func (a *app) recordRemoveCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:     "rm NAME [TYPE] [VALUE...]",
		Aliases: []string{"remove"},
		Short:   "Remove DNS records",
		Long: `Removes the records of a name: all of them, those of one type, or the one with that
value. It prints what it removed.`,
		Example: `  dockstack record rm www
  dockstack record rm gateway A 172.16.0.1`,
		Args: takes("NAME [TYPE] [VALUE...]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := admin.Record{Name: args[0]}
			if len(args) > 1 {
				var err error
				if r.Type, err = recordType(args[1]); err != nil {
					return err
				}
			}
			if len(args) > 2 {
				r.Value = recordValue(r.Type, args[2:])
			}
			gone, err := a.daemon().RemoveRecord(cmd.Context(), r)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(gone)
			}
			for _, r := range gone {
				a.printf("removed %s\n", recordText(r))
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return completeRecord(cmd, args, begin)
			}
			return a.offered(cmd.Context(), a.recordNames, begin), cobra.ShellCompDirectiveNoFileComp
		},
	})
}

func (a *app) recordNames(ctx context.Context) []string {
	found, err := a.daemon().Records(ctx)
	if err != nil {
		return nil
	}
	out := make([]string, len(found))
	for i, r := range found {
		out[i] = r.Name
	}
	return out
}

func (a *app) recordListCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:     "ls [NAME...]",
		Aliases: []string{"list"},
		Short:   "List your DNS records",
		Long: `Lists the DNS records that operators added. Words may have ? and [a-z] in them, and
* for any text; one that begins with *. stands for such a record, too.`,
		Example: `  dockstack record ls
  dockstack record ls '*.endor.lab'`,
		Args: takes("[NAME...]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := a.daemon().Records(cmd.Context())
			if err != nil {
				return err
			}
			found := []admin.Record{}
			for _, r := range all {
				short, _, _ := strings.Cut(r.Name, ".")
				if admin.MatchWords(args, r.Name, short) {
					found = append(found, r)
				}
			}
			if a.json {
				return a.printJSON(found)
			}
			if len(found) == 0 {
				a.notef("there are no such records\n")
				return nil
			}
			rows := make([][]cell, len(found))
			for i, r := range found {
				ttl := ""
				if r.TTL != 0 {
					ttl = strconv.FormatUint(uint64(r.TTL), 10)
				}
				rows[i] = []cell{text(r.Name), text(r.Type), text(r.Value), text(ttl)}
			}
			a.table([]column{
				{head: "NAME", need: always, soft: 40, least: 12},
				{head: "TYPE", need: always},
				{head: "VALUE", need: always, least: 12},
				{head: "TTL", need: 1, right: true},
			}, rows)
			return nil
		},
	})
}
