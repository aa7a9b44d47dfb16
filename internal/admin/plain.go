package admin

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain is text without anything that a terminal would take for a command, or
// that would make it look like other text: such characters are escaped as in Go.
// Names come from files and from other hosts.
func Plain(text string) string {
	if !strings.ContainsFunc(text, unsafe) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			b.WriteString(`\x` + strconv.FormatUint(uint64(text[i])|0x100, 16)[1:])
		case unsafe(r):
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unsafe(r rune) bool { return !unicode.IsPrint(r) }
