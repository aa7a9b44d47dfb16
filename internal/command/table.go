package command

import (
	"bufio"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dockstack/dockstack/internal/admin"
)

// column is one of a table.
type column struct {
	head string
	// need is how much it is needed: on a narrow terminal the columns with the
	// least go first. Those with always never go.
	need int
	// soft is how long its cells may be where the terminal is too narrow for all,
	// least how long they stay at least, 0 for never shortened.
	soft, least int
	// right has its cells end together, as numbers do.
	right bool
}

const always = 100

// cell is one of a row.
type cell struct {
	text   string
	colour colour
}

func text(s string) cell { return cell{text: admin.Plain(s)} }

func painted(c colour, s string) cell { return cell{admin.Plain(s), c} }

// gap is between two columns.
const gap = 2

// table prints rows under their heads. On a terminal they fit its width; other
// programs get all of them.
func (a *app) table(columns []column, rows [][]cell) {
	width, isTerminal := a.Terminal(a.Out)
	if !isTerminal {
		width = 0
	}
	shown, widths := layout(columns, rows, width)
	out := bufio.NewWriter(a.Out)
	heads := make([]cell, len(columns))
	for i, c := range columns {
		heads[i] = cell{c.head, bold}
	}
	colours := a.coloured(a.Out)
	for _, row := range append([][]cell{heads}, rows...) {
		for n, i := range shown {
			content := shortenTo(row[i].text, widths[n])
			pad := strings.Repeat(" ", widths[n]-utf8.RuneCountInString(content))
			if columns[i].right {
				_, _ = out.WriteString(pad)
			}
			_, _ = out.WriteString(paintIf(colours, row[i].colour, content))
			if n == len(shown)-1 {
				break
			}
			if !columns[i].right {
				_, _ = out.WriteString(pad)
			}
			_, _ = out.WriteString(strings.Repeat(" ", gap))
		}
		_ = out.WriteByte('\n')
	}
	a.wrote(out.Flush())
}

// measure is how wide columns want to be, and which of them have something.
func measure(columns []column, rows [][]cell) (natural, shown []int) {
	natural = make([]int, len(columns))
	for i, c := range columns {
		natural[i] = utf8.RuneCountInString(c.head)
		empty := true
		for _, row := range rows {
			natural[i] = max(natural[i], utf8.RuneCountInString(row[i].text))
			empty = empty && row[i].text == ""
		}
		// What nobody has is not worth a column.
		if !empty || c.need == always {
			shown = append(shown, i)
		}
	}
	return natural, shown
}

// layout picks columns and their widths so that a row fits into width, 0 for any.
func layout(columns []column, rows [][]cell, width int) (shown, widths []int) {
	natural, shown := measure(columns, rows)
	at := func(fn func(i int) int) []int {
		out := make([]int, len(shown))
		for n, i := range shown {
			out[n] = fn(i)
		}
		return out
	}
	widths = at(func(i int) int { return natural[i] })
	if width == 0 || total(widths) <= width {
		return shown, widths
	}
	soft := func(i int) int {
		if columns[i].soft == 0 {
			return natural[i]
		}
		return min(natural[i], max(columns[i].soft, len(columns[i].head)))
	}
	for widths = at(soft); total(widths) > width; widths = at(soft) {
		least := slices.MinFunc(shown, func(a, b int) int { return columns[a].need - columns[b].need })
		if columns[least].need == always {
			break
		}
		shown = slices.DeleteFunc(shown, func(i int) bool { return i == least })
	}
	if spare := width - total(widths); spare >= 0 {
		return shown, widen(widths, at(func(i int) int { return natural[i] }), spare)
	}
	for n, i := range shown {
		if columns[i].least == 0 {
			continue
		}
		over := total(widths) - width
		if over <= 0 {
			break
		}
		widths[n] = max(widths[n]-over, min(widths[n], columns[i].least))
	}
	return shown, widths
}

// widen gives what room is left to columns that were shortened, first come first
// served.
func widen(widths, natural []int, spare int) []int {
	for n := range widths {
		more := min(natural[n]-widths[n], spare)
		widths[n] += more
		spare -= more
	}
	return widths
}

func total(widths []int) int {
	n := gap * (len(widths) - 1)
	for _, w := range widths {
		n += w
	}
	return n
}

// shortenTo has its end cut where it is too long.
func shortenTo(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:max(width-1, 0)]) + "…"
}
