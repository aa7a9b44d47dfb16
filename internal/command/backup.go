package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
)

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write all that is kept to a file",
		Long: `Writes everything that is kept (networks, names, addresses, DNS records) to a
file, as it is at one moment and while everything runs; - stands for standard
output. On hosts that share a store, it is what all of them keep.

The file is text, one record a line, ends with a checksum, and is for its owner
alone (mode 0600). It is there whole or not at all.`,
		Example: `  dockstack backup /var/backups/dockstack-$(date +%F).backup
  dockstack backup - | ssh backup 'cat > dockstack.backup'`,
		Args: takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.backup(cmd.Context(), args[0]) },
	}
}

func (a *app) backup(ctx context.Context, path string) error {
	if path == "-" {
		if _, isTerminal := a.Terminal(a.Out); isTerminal {
			return usage("a backup is nothing for a terminal; name a file, or pipe it somewhere")
		}
		return a.daemon().Backup(ctx, a.Out)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return usage("`%s` is no file; name one to be written", path)
	}
	n, size := 0, int64(0)
	err := writeFile(path, 0o600, func(w io.Writer) error {
		// What goes to the disk is read as a restore would.
		r, pipe := io.Pipe()
		checked := make(chan error, 1)
		go func() {
			_, entries, err := admin.ReadBackup(r)
			n = len(entries)
			_, _ = io.Copy(io.Discard, r)
			checked <- err
		}()
		counted := &counter{to: io.MultiWriter(w, pipe)}
		err := a.daemon().Backup(ctx, counted)
		_ = pipe.CloseWithError(err)
		size = counted.n
		if wrong := <-checked; err == nil && wrong != nil {
			err = fmt.Errorf("what the daemon sent is no whole backup: %w", wrong)
		}
		return err
	})
	if err != nil {
		return err
	}
	if size > admin.MaxRestore {
		a.notef("%s\n", a.errPaint(yellow, fmt.Sprintf("this backup is larger than the %d MB that a restore takes", admin.MaxRestore>>20)))
	}
	a.printf("%s, %d bytes, to %s\n", plural(n, "record", "records"), size, admin.Plain(path))
	return nil
}

// counter counts what is written.
type counter struct {
	to io.Writer
	n  int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

func (a *app) restoreCommand() *cobra.Command {
	dry := false
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup back",
		Long: `Puts what ` + "`dockstack backup`" + ` wrote in the place of what is kept, all or nothing,
while everything runs: names have the addresses of then again, and names that the
backup does not know go. - stands for standard input. DNS records follow the names;
where that fails it says so, and the same once more completes it.

The file is checked in full before anything is changed. It is refused (exit code
4) where a running container would lose its address; the containers that are in
the way are listed. A dry run lists them, too.`,
		Example: `  dockstack restore --dry-run /var/backups/dockstack.backup
  dockstack restore /var/backups/dockstack.backup`,
		Args: takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			mode := admin.RestoreReal
			if dry {
				mode = admin.RestoreDry
			}
			return a.restore(cmd.Context(), args[0], mode)
		},
	})
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would happen")
	return cmd
}

func (a *app) restore(ctx context.Context, path string, mode admin.RestoreMode) error {
	data, err := a.readInput(ctx, path, admin.MaxRestore)
	if err != nil {
		return err
	}
	if _, _, err := admin.ReadBackup(bytes.NewReader(data)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	got, err := a.daemon().Restore(ctx, bytes.NewReader(data), mode)
	var refused *admin.Error
	if errors.As(err, &refused) && refused.Restore != nil {
		got = *refused.Restore
	} else if err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(got); err != nil {
			return err
		}
	} else {
		a.showRestore(got, mode)
	}
	return err
}

func (a *app) showRestore(r admin.Restore, mode admin.RestoreMode) {
	where := ""
	if r.Host != "" {
		where = " on " + admin.Plain(r.Host)
	}
	a.printf("a backup of %s%s, by dockstack %s\n", r.Made.UTC().Format("2006-01-02 15:04:05 UTC"), where, admin.Plain(r.Version))
	a.printf("names: %d back, %d with another address than now, %d gone, %d as before\n", r.New, r.Moved, r.Gone, r.Same)
	if len(r.Pools) > 0 {
		a.printf("networks' subnets: %s\n", admin.Plain(strings.Join(r.Pools, ", ")))
	}
	if r.Records > 0 {
		a.printf("%s\n", plural(r.Records, "DNS record", "DNS records"))
	}
	if len(r.Kept) > 0 {
		a.printf("the backup does not know these, and their containers run, so they stay: %s\n", admin.Plain(strings.Join(r.Kept, ", ")))
	}
	for _, c := range r.Clashes {
		a.printf("%s %s\n", a.paint(red, "clash:"), admin.Plain(c))
	}
	if len(r.Clashes) == 0 && mode == admin.RestoreDry {
		a.printf("nothing was changed: this was a dry run\n")
	}
}
