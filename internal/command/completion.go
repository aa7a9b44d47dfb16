package command

import (
	"bytes"

	"github.com/spf13/cobra"
)

// shells are those that there is a completion for.
var shells = []string{"bash", "zsh", "fish"}

func (a *app) completionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "completion",
		Short: "Print what completes this command in a shell",
		Long: `Prints a script that has a shell complete verbs, flags, and the names, networks
and hosts that there are. As a plugin of docker, ` + "`docker dockstack`" + ` is completed by
docker's own completion.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("`%s` needs a shell: bash, zsh or fish", cmd.CommandPath())
			}
			return a.noVerb(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, shell := range []struct {
		name, how string
		script    func(root *cobra.Command, to *bytes.Buffer) error
	}{
		{"bash", "  dockstack completion bash > /etc/bash_completion.d/dockstack\n  source <(dockstack completion bash)", func(root *cobra.Command, to *bytes.Buffer) error {
			return root.GenBashCompletionV2(to, true)
		}},
		{"zsh", "  dockstack completion zsh > \"${fpath[1]}/_dockstack\"\n  source <(dockstack completion zsh)", func(root *cobra.Command, to *bytes.Buffer) error {
			return root.GenZshCompletion(to)
		}},
		{"fish", "  dockstack completion fish > ~/.config/fish/completions/dockstack.fish\n  dockstack completion fish | source", func(root *cobra.Command, to *bytes.Buffer) error {
			return root.GenFishCompletion(to, true)
		}},
	} {
		cmd.AddCommand(&cobra.Command{
			Use:   shell.name,
			Short: "Print the completion for " + shell.name,
			Long: "Prints the completion for " + shell.name + `. The first example has it in every new shell, the
second in this one.`,
			Example: shell.how,
			Args:    takes(""),
			RunE: func(cmd *cobra.Command, _ []string) error {
				// The script's names are those of the program, also under docker.
				root := cmd.Root()
				delete(root.Annotations, cobra.CommandDisplayNameAnnotation)
				var out bytes.Buffer
				if err := shell.script(root, &out); err != nil {
					return err
				}
				a.printf("%s", out.String())
				return nil
			},
		})
	}
	return cmd
}
