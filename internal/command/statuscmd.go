package command

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
)

func (a *app) statusCommand() *cobra.Command {
	check := false
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "status",
		Short: "Show how things stand",
		Long: `Shows how the store, the hosts, the switch, DNS, the engine and the networks
stand, and what is wrong. The file /run/dockstack/status has the same, for when
this command is not at hand.

For a check whether anything is wrong on this host, with the way to mend it, see
` + "`dockstack doctor`.",
		Example: `  dockstack status
  dockstack status --json
  dockstack status --check >/dev/null || echo "look at dockstack"`,
		Args: takes(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.daemon().Status(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(s)
			} else {
				a.printf("%s", a.paintStatus(s.Text()))
			}
			if err == nil && check && !well(s) {
				return exit(ExitFailed)
			}
			return err
		},
	})
	cmd.Flags().BoolVar(&check, "check", false, "exit with 1 where something is wrong")
	return cmd
}

// well is whether nothing is wrong.
func well(s admin.Status) bool {
	for _, l := range s.DNS.Listeners {
		if l.Error != "" {
			return false
		}
	}
	return len(s.Problems) == 0 && s.Store.Closed == "" && s.Store.Away == "" && s.Switch.Up
}

// paintStatus colours what is wrong, and wraps what is no table, for a terminal.
func (a *app) paintStatus(s string) string {
	width := a.proseWidth()
	if width == 0 {
		return s
	}
	var out strings.Builder
	problems, table := false, false
	for line := range strings.Lines(s) {
		body := strings.TrimSuffix(line, "\n")
		problems = problems || strings.HasPrefix(body, "problems ")
		if body == "" || body[0] != ' ' {
			table = strings.HasPrefix(body, "hosts ") || strings.HasPrefix(body, "networks ")
		}
		c := noColour
		switch {
		case strings.HasPrefix(body, "problems   none"):
			c = green
		case problems:
			c = yellow
		case strings.Contains(body, "NOT "), strings.Contains(body, "AWAY since"):
			c = red
		}
		lines := []string{body}
		if !table {
			lines = wrapStatus(body, width)
		}
		for _, l := range lines {
			out.WriteString(a.paint(c, l) + "\n")
		}
	}
	return out.String()
}

// wrapStatus wraps a line of the status, whose right-hand side stays there.
func wrapStatus(line string, width int) []string {
	const head = 11
	if len(line) <= head || line[head-1] != ' ' {
		return wrap(line, width, 0)
	}
	lines := wrap(line[head:], width-head, 0)
	if strings.HasPrefix(line[head:], "- ") {
		lines = wrap(line[head:], width-head, len("- "))
	}
	for i := range lines {
		if i == 0 {
			lines[i] = line[:head] + lines[i]
		} else {
			lines[i] = strings.Repeat(" ", head) + lines[i]
		}
	}
	return lines
}
