package command

//go:generate go test -run TestPages . -update

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// pages are the command's own texts as Markdown, one page for each verb, by file
// name. docs/cli has them; a test sees to it that the two are the same.
func pages(root *cobra.Command) map[string]string {
	out := map[string]string{}
	var index strings.Builder
	fmt.Fprintf(&index, "# The command\n\n%s\n", prose(root.Long))
	index.WriteString("\nThe daemon puts a copy of itself, which is the command, on the host:\n\n" +
		"```console\n# ln -s /var/lib/dockstack/bin/docker-dockstack /usr/local/bin/dockstack\n" +
		"# mkdir -p /usr/local/lib/docker/cli-plugins\n" +
		"# ln -s /var/lib/dockstack/bin/docker-dockstack /usr/local/lib/docker/cli-plugins/docker-dockstack\n```\n\n" +
		"The first makes `dockstack ls` work, the second `docker dockstack ls`. An upgrade of\nthe plugin upgrades it.\n\n" +
		"Each reading verb has `--json`. There are colours only on a terminal, and none where\n`NO_COLOR` is set; tables fit the terminal, and are complete where they are piped.\n")
	for _, g := range root.Groups() {
		fmt.Fprintf(&index, "\n## %s\n\n| verb | does |\n|---|---|\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == g.ID && documented(c) {
				fmt.Fprintf(&index, "| [`%s`](%s.md) | %s |\n", c.Name(), c.Name(), c.Short)
				out[c.Name()+".md"] = page(c)
			}
		}
	}
	fmt.Fprintf(&index, "\n## Flags of all verbs\n\n```\n%s```\n", flagsText(root.PersistentFlags().FlagUsages()))
	out["README.md"] = index.String()
	return out
}

func documented(c *cobra.Command) bool { return c.IsAvailableCommand() && c.Name() != "help" }

// page is a verb's page, with its own verbs.
func page(c *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s.\n\n[All verbs](README.md)\n", c.CommandPath(), c.Short)
	section(&b, c)
	for _, sub := range c.Commands() {
		if documented(sub) {
			fmt.Fprintf(&b, "\n## %s\n\n%s.\n", sub.CommandPath(), sub.Short)
			section(&b, sub)
		}
	}
	return b.String()
}

func section(b *strings.Builder, c *cobra.Command) {
	if !c.HasAvailableSubCommands() {
		fmt.Fprintf(b, "\n```\n%s\n```\n", c.UseLine())
	}
	fmt.Fprintf(b, "\n%s\n", prose(c.Long))
	if flags := c.NonInheritedFlags().FlagUsages(); strings.TrimSpace(flags) != "" && !c.HasAvailableSubCommands() {
		fmt.Fprintf(b, "\nFlags:\n\n```\n%s```\n", flagsText(flags))
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\nExamples:\n\n```sh\n%s\n```\n", unindent(c.Example))
	}
}

// prose is help as Markdown: lists that are indented become blocks.
func prose(text string) string {
	var b strings.Builder
	inside := false
	for line := range strings.Lines(text + "\n") {
		indented := strings.HasPrefix(line, "  ")
		if indented != inside {
			if indented {
				b.WriteString("\n")
			}
			b.WriteString("```\n")
			inside = indented
		}
		b.WriteString(escaped(line, inside))
	}
	if inside {
		b.WriteString("```\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// escaped has Markdown take a star for itself.
func escaped(line string, block bool) string {
	if block {
		return line
	}
	return strings.ReplaceAll(line, "*", `\*`)
}

func unindent(text string) string {
	return strings.TrimPrefix(strings.ReplaceAll(text, "\n  ", "\n"), "  ")
}

// flagsText is without the lines of --help, which all have.
func flagsText(usages string) string {
	var out strings.Builder
	for line := range strings.Lines(usages) {
		if !strings.Contains(line, "--help ") {
			out.WriteString(line)
		}
	}
	return out.String()
}
