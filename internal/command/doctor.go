package command

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	fix, all := false, false
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong on this host, and what mends it",
		Long: `Looks for what is wrong on this host: stale ports, flows, leases and endpoints of
the engine's, a wrong MTU (it probes the way to the other hosts), a clashing VXLAN
port, what the kernel lacks, an engine that is too old, DNS that is not wired in.
For each finding it prints the command that mends it. It takes some seconds.

With --fix it mends what can't hurt a running container. Where the daemon can't be
reached, it looks at why.

Exit codes: 0 where nothing is wrong, 1 where an error remains, 5 where the daemon
can't be reached.`,
		Example: `  dockstack doctor
  dockstack doctor --fix
  dockstack doctor --json | jq -r '.findings[] | select(.severity=="error").command'`,
		Args: takes(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			mode := admin.DoctorLook
			if fix {
				mode = admin.DoctorFix
			}
			return a.doctor(cmd.Context(), mode, all)
		},
	})
	cmd.Flags().BoolVar(&fix, "fix", false, "mend what is safe to mend")
	cmd.Flags().BoolVar(&all, "all", false, "list also what is as it should be")
	return cmd
}

func (a *app) doctor(ctx context.Context, mode admin.DoctorMode, all bool) error {
	var report admin.Report
	// The doctor takes its time: whether there is one is asked first.
	err := a.daemon().Answers(ctx)
	if err == nil {
		report, err = a.daemon().Doctor(ctx, mode)
	}
	var away *admin.Unreachable
	if errors.As(err, &away) {
		report.Findings = a.localFindings(ctx)
		report.At = a.Now()
	} else if err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(report); err != nil {
			return err
		}
	} else {
		a.showReport(report, all)
	}
	if away != nil {
		return away
	}
	for _, f := range report.Findings {
		if f.Severity == admin.SeverityError && !f.Mended {
			return exit(ExitFailed)
		}
	}
	return nil
}

// localFindings are what can be found without the daemon.
func (a *app) localFindings(ctx context.Context) []admin.Finding {
	out := []admin.Finding{}
	for _, f := range doctor.Local(ctx) {
		out = append(out, admin.Finding{
			ID: f.ID, Severity: string(f.Severity), Subject: f.Subject, What: f.What, Why: f.Why, Command: f.Command, Fix: f.Fix,
		})
	}
	return out
}

func (a *app) showReport(r admin.Report, all bool) {
	counts := map[string]int{}
	for _, f := range r.Findings {
		counts[f.Severity]++
	}
	for _, f := range together(r.Findings) {
		if f.Severity != admin.SeverityOK || all {
			a.showFinding(f)
		}
	}
	a.printf("%s, %s, %s, %d fine\n", plural(counts[admin.SeverityError], "error", "errors"), plural(counts[admin.SeverityWarning], "warning", "warnings"),
		plural(counts[admin.SeverityNote], "note", "notes"), counts[admin.SeverityOK])
}

// together has what could not be looked at for one reason stand in one line.
func together(all []admin.Finding) []admin.Finding {
	var out []admin.Finding
	at := map[string]int{}
	for _, f := range all {
		reason, blind := strings.CutPrefix(f.What, "could not look for "+f.Subject+": ")
		if f.ID != doctor.Blind || !blind {
			out = append(out, f)
			continue
		}
		if i, known := at[reason]; known {
			out[i].Subject += ", " + f.Subject
			out[i].What = "could not look for " + out[i].Subject + ": " + reason
			continue
		}
		at[reason] = len(out)
		out = append(out, f)
	}
	return out
}

func (a *app) showFinding(f admin.Finding) {
	c := map[string]colour{admin.SeverityError: red, admin.SeverityWarning: yellow, admin.SeverityOK: green}[f.Severity]
	oneLine := func(text string) string { return admin.Plain(strings.ReplaceAll(text, "\n", "; ")) }
	indent := strings.Repeat(" ", len(admin.SeverityWarning)+1)
	prose := func(text string) string {
		return strings.Join(wrap(oneLine(text), a.proseWidth()-len(indent), 0), "\n"+indent)
	}
	a.printf("%s %s\n", a.paint(c, pad(f.Severity, len(admin.SeverityWarning))), prose(f.What))
	if f.Why != "" {
		a.printf("%s%s\n", indent, prose(f.Why))
	}
	switch {
	case f.Mended:
		a.printf("%s%s\n", indent, a.paint(green, "mended"))
		return
	case f.Failed != "":
		a.printf("%s%s\n", indent, a.paint(red, "could not be mended: "+oneLine(f.Failed)))
	}
	if f.Command == "" {
		return
	}
	a.printf("%s%s\n", indent, a.paint(bold, "# "+oneLine(f.Command)))
	if f.Fix && f.Failed == "" {
		a.printf("%s%s\n", indent, a.paint(dim, "or `"+a.called+" doctor --fix`"))
	}
}
