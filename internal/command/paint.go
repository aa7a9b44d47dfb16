package command

import (
	"encoding/json"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/dockstack/dockstack/internal/admin"
)

// terminal is Program.Terminal for real files.
func terminal(w io.Writer) (int, bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns <= 0 {
		columns = 80
	}
	return columns, true
}

// colour is a way to show text on a terminal.
type colour string

const (
	noColour colour = ""
	red      colour = "31"
	green    colour = "32"
	yellow   colour = "33"
	bold     colour = "1"
	dim      colour = "2"
)

// coloured is whether w may have colours: a terminal, unless the user wants none
// (https://no-color.org).
func (a *app) coloured(w io.Writer) bool {
	_, ok := a.Terminal(w)
	return ok && a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb"
}

func (a *app) paint(c colour, text string) string    { return paintIf(a.coloured(a.Out), c, text) }
func (a *app) errPaint(c colour, text string) string { return paintIf(a.coloured(a.Err), c, text) }

func paintIf(yes bool, c colour, text string) string {
	if !yes || c == noColour || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// plainLines is admin.Plain for a text that may have several lines.
func plainLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = admin.Plain(lines[i])
	}
	return strings.Join(lines, "\n")
}

// printJSON prints a value for other programs. JSON has control characters
// escaped already.
func (a *app) printJSON(value any) error {
	enc := json.NewEncoder(a.Out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}
