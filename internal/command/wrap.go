package command

import (
	"strings"
	"unicode/utf8"
)

// Prose on a terminal is no narrower and no wider than that.
const (
	leastProse = 40
	mostProse  = 200
)

// proseWidth is how wide prose may be, 0 for any where the output is no terminal.
func (a *app) proseWidth() int {
	columns, ok := a.Terminal(a.Out)
	if !ok {
		return 0
	}
	return min(max(columns, leastProse), mostProse)
}

// wrap breaks a line between words where it is longer than width, 0 for any. Lines
// after the first are indented by hang. A word that is too long stays whole, so
// that it can be copied.
func wrap(text string, width, hang int) []string {
	if width <= 0 || utf8.RuneCountInString(text) <= width {
		return []string{text}
	}
	var lines []string
	line, n := "", 0
	for word := range strings.SplitSeq(text, " ") {
		long := utf8.RuneCountInString(word)
		if strings.TrimSpace(line) != "" && n+1+long > width {
			lines = append(lines, line)
			line, n = strings.Repeat(" ", hang)+word, hang+long
			continue
		}
		if line != "" {
			line, n = line+" ", n+1
		}
		line, n = line+word, n+long
	}
	return append(lines, line)
}
