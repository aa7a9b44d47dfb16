// Package command is what operators type: `dockstack ls` and the other verbs, on
// their own and as `docker dockstack ls`. It asks the daemon through package
// admin, and shows answers as tables, as JSON, or as files.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

// Exit codes, for scripts.
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitClash       = 4
	ExitUnreachable = 5
)

// exitCodes says the same to people.
const exitCodes = `  0  done
  1  it failed
  2  the command line makes no sense
  3  nothing has that name
  4  refused: something else is in its way, such as a running container
  5  the daemon can't be reached`

// Program is the surroundings of a command.
type Program struct {
	// Name is what the program was called as, Version its version.
	Name, Version string
	// Daemon runs the daemon and returns its exit code.
	Daemon func() int

	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Now      func() time.Time
	// Patience is the client's, 0 for the usual.
	Patience time.Duration
	// Terminal is how many columns the terminal has that w is, if it is one.
	Terminal func(w io.Writer) (columns int, ok bool)
}

// Main runs the command that this process was called as, and returns its exit
// code.
func Main(version string, daemon func() int) int {
	p := Program{
		Name: filepath.Base(os.Args[0]), Version: version, Daemon: daemon,
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Now: time.Now, Terminal: terminal,
	}
	// The daemon needs nothing of what follows.
	if len(os.Args) == 2 && os.Args[1] == verbDaemon {
		return daemon()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return p.Run(ctx, os.Args[1:])
}

// Run runs a command and returns its exit code.
func (p Program) Run(ctx context.Context, args []string) int {
	a := &app{Program: p, called: programName}
	if p.Name == pluginName {
		var err error
		if args, err = a.asPlugin(args); err != nil {
			return a.fail(err)
		}
	}
	defer a.close()
	root := a.root() //nolint:contextcheck // verbs get it when they run
	if args == nil {
		args = []string{} // cobra would take the process'
	}
	root.SetArgs(args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil && !errors.As(err, new(exit)) {
		err = fmt.Errorf("interrupted: %w", err)
	}
	if err == nil {
		err = a.unwritten
	}
	return a.fail(err)
}

// mostError is how much of an error is printed; some have what was read in them.
const mostError = 8000

// fail says what went wrong and returns the exit code.
func (a *app) fail(err error) int {
	var code exit
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &code):
		return int(code)
	}
	_, _ = fmt.Fprintf(a.Err, "%s %s\n", a.errPaint(red, a.called+":"), plainLines(shortenTo(err.Error(), mostError))) // there is nobody else to tell
	return exitCode(err)
}

// exit is an error that was told already.
type exit int

// Error implements error.
func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is a command line that makes no sense.
type usageError struct{ text string }

// Error implements error.
func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

func exitCode(err error) int {
	var wrong *usageError
	var away *admin.Unreachable
	switch {
	case errors.As(err, &wrong):
		return ExitUsage
	case errors.As(err, &away):
		return ExitUnreachable
	}
	switch admin.CodeOf(err) {
	case admin.CodeUsage:
		return ExitUsage
	case admin.CodeNotFound:
		return ExitNotFound
	case admin.CodeClash:
		return ExitClash
	default:
		return ExitFailed
	}
}
