package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/convert"
	"github.com/dockstack/dockstack/internal/environment"
)

// converting is where converted files go.
type converting struct {
	convert.Options
	dir        string
	force, dry bool
}

func (a *app) convertCommand() *cobra.Command {
	var c converting
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "convert FILE",
		Short: "Make compose files of an environment.yaml",
		Long: `Makes compose files of the environment.yaml of dockstack's ancestor: one file for
each container host, one service for each container with its image, address,
volumes, DNS and domain. What compose has no equivalent for, such as hooks, is
listed, not dropped. It needs no daemon; ` + "`dockstack import`" + ` reserves the addresses
of the same file.

Files that are there are not replaced, unless --force is given.`,
		Example: `  dockstack convert environment.yaml
  dockstack convert environment.yaml --output compose --host node1
  dockstack convert --dry-run environment.yaml`,
		Args: takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.convert(cmd.Context(), args[0], c) },
	})
	flags := cmd.Flags()
	flags.StringVarP(&c.dir, "output", "o", ".", "the directory that the files go to")
	flags.StringVar(&c.Host, "host", "", "only this container host's file")
	flags.StringVar(&c.Network, "network", "", "what the network is called (default: internal)")
	flags.BoolVar(&c.force, "force", false, "replace files that are there")
	flags.BoolVar(&c.dry, "dry-run", false, "write no files, only list what would be written")
	return cmd
}

// converted is what a conversion says as JSON.
type converted struct {
	Files        []convert.File         `json:"files"`
	NoEquivalent []convert.NoEquivalent `json:"no_equivalent"`
}

func (a *app) convert(ctx context.Context, path string, c converting) error {
	data, err := a.readInput(ctx, path, maxInput)
	if err != nil {
		return err
	}
	env, err := environment.Parse(path, data)
	if err != nil {
		return err
	}
	files, missing, err := convert.Files(env, c.Options)
	if err != nil {
		return err
	}
	if !c.dry {
		if err := writeConverted(files, c); err != nil {
			return err
		}
	}
	if a.json {
		out := converted{Files: files, NoEquivalent: missing}
		if out.NoEquivalent == nil {
			out.NoEquivalent = []convert.NoEquivalent{}
		}
		return a.printJSON(out)
	}
	for _, m := range missing {
		a.printf("%s %s\n", a.paint(yellow, "no equivalent:"), admin.Plain(m.String()))
	}
	verb := "wrote"
	if c.dry {
		verb = "would write"
	}
	for _, f := range files {
		where := ""
		if f.Host != "" {
			where = " for " + admin.Plain(f.Host)
		}
		a.printf("%s %s%s\n", verb, admin.Plain(filepath.Join(c.dir, f.Name)), where)
	}
	return nil
}

// writeConverted writes all files or, where one is in the way, none.
func writeConverted(files []convert.File, c converting) error {
	info, err := os.Stat(c.dir)
	if err != nil {
		return noFile(c.dir, err)
	}
	if !info.IsDir() {
		return usage("`%s` is no directory", c.dir)
	}
	for _, f := range files {
		path := filepath.Join(c.dir, f.Name)
		if _, err := os.Lstat(path); !c.force && !errors.Is(err, fs.ErrNotExist) {
			return admin.Errorf(admin.CodeClash, "%s is there already; nothing was written: move it away, or say --force or --output", path)
		}
	}
	for _, f := range files {
		err := writeFile(filepath.Join(c.dir, f.Name), 0o644, func(w io.Writer) error {
			_, err := w.Write(f.Data)
			return err
		})
		if err != nil {
			return fmt.Errorf("%w; files before it are written", err)
		}
	}
	return nil
}
