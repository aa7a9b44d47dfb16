package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/nearest"
)

const (
	programName = "dockstack"
	verbDaemon  = "daemon"
	envSocket   = "DOCKSTACK_SOCKET"
)

// app is one run of the command.
type app struct {
	Program
	// called is what the user typed to get here: "dockstack", or "docker
	// dockstack".
	called string
	socket string
	client *admin.Client
	// json: answers are JSON.
	json bool
	// unwritten is why some of the output got lost.
	unwritten error
}

// daemon is the client of the daemon.
func (a *app) daemon() *admin.Client {
	if a.client == nil {
		a.client = admin.NewClient(cmp.Or(a.socket, a.Getenv(envSocket), admin.Socket))
		a.client.Patience = a.Patience
	}
	return a.client
}

func (a *app) close() {
	if a.client != nil {
		a.client.Close()
	}
}

// Groups of verbs, in the order of the help.
const (
	groupLook  = "look"
	groupNames = "names"
	groupFiles = "files"
	groupOther = "other"
)

// root makes the command with all its verbs.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   programName,
		Short: "Every container name keeps its address",
		Long: `dockstack gives every container name an address that stays. This command shows
and changes what its daemon keeps; the daemon is the Docker plugin
dockstack-plugin, and is asked over ` + admin.Socket + `, which root and
the group docker may open.

Exit codes:
` + exitCodes,
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: a.called},
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              a.noVerb,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&a.socket, "socket", "", "the daemon's socket (default $"+envSocket+", else "+admin.Socket+")")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommandGroupID(groupOther)
	root.AddGroup(
		&cobra.Group{ID: groupLook, Title: "Look:"},
		&cobra.Group{ID: groupNames, Title: "Say who has which address:"},
		&cobra.Group{ID: groupFiles, Title: "Files:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	for _, g := range []struct {
		id    string
		verbs []*cobra.Command
	}{
		{groupLook, []*cobra.Command{a.lsCommand(), a.statusCommand(), a.doctorCommand(), a.watchCommand(), a.dnsCommand()}},
		{groupNames, []*cobra.Command{a.reserveCommand(), a.releaseCommand(), a.renameCommand(), a.recordCommand(), a.hostCommand()}},
		{groupFiles, []*cobra.Command{a.importCommand(), a.exportCommand(), a.convertCommand(), a.backupCommand(), a.restoreCommand()}},
		{groupOther, []*cobra.Command{a.completionCommand(), a.versionCommand(), a.daemonCommand()}},
	} {
		for _, verb := range g.verbs {
			verb.GroupID = g.id
			root.AddCommand(verb)
		}
	}
	return root
}

// noVerb is the error for a first word that is no verb.
func (a *app) noVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var verbs []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			verbs = append(verbs, c.Name())
			verbs = append(verbs, c.Aliases...)
		}
	}
	slices.Sort(verbs)
	hint := nearest.Hint(args[0], verbs)
	if hint == "" {
		hint = "; there are " + strings.Join(verbs, ", ")
	}
	return usage("no verb `%s`%s (`%s --help`)", args[0], hint, cmd.CommandPath())
}

// ownVerb is noVerb for a verb that does nothing without one of its own.
func (a *app) ownVerb(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return a.noVerb(cmd, args)
	}
	var verbs []string
	for _, c := range cmd.Commands() {
		verbs = append(verbs, c.Name())
	}
	return usage("`%s` needs a verb: %s (`%s --help`)", cmd.CommandPath(), strings.Join(verbs, ", "), cmd.CommandPath())
}

// flagError names the flag that was meant.
func flagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	hint := ""
	if name, ok := strings.CutPrefix(text, "unknown flag: --"); ok {
		var flags []string
		add := func(f *pflag.Flag) { flags = append(flags, f.Name) }
		cmd.Flags().VisitAll(add)
		cmd.InheritedFlags().VisitAll(add)
		found := nearest.Of(name, flags, 1)
		if len(found) > 0 {
			hint = "; did you mean `--" + found[0] + "`?"
		}
	}
	return usage("%s%s (`%s --help`)", text, hint, cmd.CommandPath())
}

// takes has a verb take these words: "NAME ADDRESS", "FILE", "[NAME...]".
func takes(words string) cobra.PositionalArgs {
	var least, most int
	for w := range strings.FieldsSeq(words) {
		most++
		if !strings.HasPrefix(w, "[") {
			least++
		}
		if strings.HasSuffix(w, "...]") {
			most = 1 << 20
		}
	}
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			missing := strings.Join(strings.Fields(words)[len(args):least], " and ")
			return usage("`%s` needs %s: %s", cmd.CommandPath(), missing, useLine(cmd))
		case len(args) > most && most == 0:
			return usage("`%s` takes no `%s`: %s", cmd.CommandPath(), args[0], useLine(cmd))
		case len(args) > most:
			return usage("`%s` is too much for `%s`: %s", args[most], cmd.CommandPath(), useLine(cmd))
		}
		return nil
	}
}

func useLine(cmd *cobra.Command) string { return "`" + cmd.UseLine() + "`" }

// jsonFlag gives a reading verb its --json.
func (a *app) jsonFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

func (a *app) versionCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "version",
		Short: "Print the versions of this command and of the daemon",
		Long: `Prints the version of this command and, where it can be reached, of the daemon.
They are the same where the command is the daemon's own copy,
/var/lib/dockstack/bin/docker-dockstack.`,
		Example: `  dockstack version`,
		Args:    takes(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
			defer cancel()
			there, err := a.daemon().Version(ctx)
			if a.json {
				return a.printJSON(map[string]string{"command": a.Version, "daemon": there})
			}
			if err != nil {
				there = "not reached"
			}
			a.printf("dockstack %s, daemon %s\n", a.Version, there)
			return nil
		},
	})
}

func (a *app) daemonCommand() *cobra.Command {
	return &cobra.Command{
		Use:   verbDaemon,
		Short: "Serve Docker's network and IPAM plugin protocols",
		Long: `Runs the daemon. The Docker plugin does that by itself, with its settings in
DOCKSTACK_* environment variables, which
` + "`docker plugin set dockstack-plugin NAME=VALUE`" + ` changes while the plugin is
disabled.`,
		Example: `  docker plugin disable -f dockstack-plugin
  docker plugin set dockstack-plugin DOCKSTACK_ZONE=endor.lab
  docker plugin enable dockstack-plugin`,
		Args: takes(""),
		RunE: func(*cobra.Command, []string) error {
			if code := a.Daemon(); code != 0 {
				return exit(code)
			}
			return nil
		},
	}
}

func (a *app) printf(format string, args ...any) {
	_, err := fmt.Fprintf(a.Out, format, args...)
	a.wrote(err)
}

// wrote keeps why output did not get where it was to go, for the exit code. A
// reader that went away wants nothing more.
func (a *app) wrote(err error) {
	if err != nil && !errors.Is(err, syscall.EPIPE) && a.unwritten == nil {
		a.unwritten = fmt.Errorf("the output is not whole: %w", err)
	}
}

// notef tells the user something that is no part of the answer.
func (a *app) notef(format string, args ...any) {
	_, _ = fmt.Fprintf(a.Err, format, args...)
}
