package command

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
)

// completeWithin is how long a user who pressed the tabulator waits.
const completeWithin = time.Second

// completes has a flag's words completed with what list has.
func (a *app) completes(cmd *cobra.Command, flag string, list func(context.Context) []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
		// Words that stand before it with commas stay.
		before := begin[:strings.LastIndex(begin, ",")+1]
		var out []string
		for _, word := range a.offered(cmd.Context(), list, strings.TrimPrefix(begin, before)) {
			out = append(out, before+word)
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag has another name
	}
}

// completeNames completes a verb's words with names.
func (a *app) completeNames(cmd *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
	return a.offered(cmd.Context(), a.names, begin), cobra.ShellCompDirectiveNoFileComp
}

// completeName is completeNames for a verb that takes one first.
func (a *app) completeName(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeNames(cmd, args, begin)
}

// offered are the words of a list that begin so. What a shell would not take as
// one word is left out.
func (a *app) offered(ctx context.Context, list func(context.Context) []string, begin string) []string {
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	words := slices.DeleteFunc(slices.Clone(list(ctx)), func(word string) bool {
		return word == "" || !strings.HasPrefix(word, begin) || strings.ContainsAny(word, " \t'\"\\$`;&|<>(){}*?[]!#~") || admin.Plain(word) != word
	})
	slices.Sort(words)
	return slices.Compact(words)
}

func (a *app) names(ctx context.Context) []string {
	found, err := a.daemon().Leases(ctx, admin.Filter{})
	if err != nil {
		return nil // a shell has no place for errors
	}
	out := make([]string, len(found))
	for i, l := range found {
		out[i] = l.Name
	}
	return out
}

func (a *app) networks(ctx context.Context) []string {
	found, err := a.daemon().Pools(ctx)
	if err != nil {
		return nil
	}
	var out []string
	for _, p := range found {
		out = append(out, p.Network, p.Overlay)
	}
	return out
}

func (a *app) hosts(ctx context.Context) []string {
	found, err := a.daemon().Hosts(ctx)
	if err != nil {
		return nil
	}
	var out []string
	for _, h := range found {
		out = append(out, h.Name)
	}
	return out
}
