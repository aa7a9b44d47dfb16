package command

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/nearest"
)

// watched are what a watch wants.
type watched struct {
	names, networks, hosts, kinds []string
	past                          bool
}

func (a *app) watchCommand() *cobra.Command {
	var w watched
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "watch [NAME...]",
		Short: "Show changes as they happen",
		Long: `Shows changes as they happen, until it is interrupted: containers that come and go,
addresses, hosts, the store, the switch, problems, DNS. Words may have *, ? and
[a-z] in them. With --json, each event is one line.

A watch that can't keep up is ended by the daemon (exit code 1), as is one whose
daemon ends (5).

Kinds: ` + strings.Join(admin.EventKinds[:8], ", ") + `,
` + strings.Join(admin.EventKinds[8:], ", ") + `.`,
		Example: `  dockstack watch
  dockstack watch 'rabbitmq*' --kind live,parked
  dockstack watch --past --json | jq -r .text`,
		Args: takes("[NAME...]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w.names = append(slices.Clone(w.names), args...)
			for _, k := range w.kinds {
				if !slices.Contains(admin.EventKinds, k) {
					return usage("no kind of event `%s`%s", k, nearest.HintAnd(k, admin.EventKinds, "the kinds are "+strings.Join(admin.EventKinds, ", ")))
				}
			}
			return a.watch(cmd.Context(), w)
		},
		ValidArgsFunction: a.completeNames,
	})
	flags := cmd.Flags()
	flags.StringSliceVar(&w.names, "name", nil, "only what is about these names")
	flags.StringSliceVar(&w.networks, "network", nil, "only what is about these networks")
	flags.StringSliceVar(&w.hosts, "host", nil, "only what is about these hosts")
	flags.StringSliceVar(&w.kinds, "kind", nil, "only these kinds of events")
	flags.BoolVar(&w.past, "past", false, "begin with what happened lately (the last 2,000 events at most)")
	a.completes(cmd, "name", a.names)
	a.completes(cmd, "network", a.networks)
	a.completes(cmd, "host", a.hosts)
	a.completes(cmd, "kind", func(context.Context) []string { return admin.EventKinds })
	return cmd
}

func (a *app) watch(ctx context.Context, w watched) error {
	since := admin.LatestEvent
	if w.past {
		since = 0
	}
	_, isTerminal := a.Terminal(a.Out)
	begun := func() {
		if isTerminal && !a.json {
			a.notef("%s\n", a.errPaint(dim, "watching; Ctrl-C ends it"))
		}
	}
	enc := json.NewEncoder(a.Out)
	enc.SetEscapeHTML(false)
	err := a.daemon().Watch(ctx, since, begun, func(e admin.Event) error {
		switch {
		case !w.wants(e):
		case a.json:
			return enc.Encode(e)
		default:
			a.printf("%s  %s  %s\n", a.paint(dim, e.At.Local().Format("15:04:05")), a.paint(eventColour(e.Kind), pad(e.Kind, 8)), admin.Plain(e.Text))
		}
		return nil
	})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // its user ended it
	}
	return err
}

func pad(s string, width int) string { return s + strings.Repeat(" ", max(width-len(s), 0)) }

func (w watched) wants(e admin.Event) bool {
	return admin.MatchWords(w.names, e.Name) && admin.MatchWords(w.networks, e.Network) && admin.MatchWords(w.hosts, e.Host) &&
		(len(w.kinds) == 0 || slices.Contains(w.kinds, e.Kind))
}

func eventColour(kind string) colour {
	switch kind {
	case admin.EventLive, admin.EventNew:
		return green
	case admin.EventGone, admin.EventProblem, admin.EventStore, admin.EventSwitch:
		return red
	case admin.EventReserved, admin.EventRenamed, admin.EventChanged, admin.EventHost:
		return yellow
	default:
		return noColour
	}
}
