// Package nearest finds what somebody meant who mistyped a name.
package nearest

import (
	"slices"
	"strings"
)

// maxWord is how much of a word is compared: names may be 2,048 bytes long, and
// the work grows with the square.
const maxWord = 128

// Of returns at most n of all that look like want, the likeliest first. What
// differs in more than a third of its letters is not among them, unless it
// begins with want.
func Of(want string, all []string, n int) []string {
	type guess struct {
		word string
		cost int
	}
	target := fold(want)
	if len(target) == 0 || n <= 0 {
		return nil
	}
	var found []guess
	for _, word := range all {
		other := fold(word)
		most := max(1, max(len(target), len(other))/3)
		switch {
		case slices.Equal(target, other):
			found = append(found, guess{word, 0})
		case len(target) > 1 && strings.HasPrefix(string(other), string(target)):
			// Behind what is mistyped by one letter.
			found = append(found, guess{word, 2})
		default:
			if cost := distance(target, other, most); cost <= most {
				found = append(found, guess{word, cost})
			}
		}
	}
	slices.SortFunc(found, func(a, b guess) int {
		if a.cost != b.cost {
			return a.cost - b.cost
		}
		return strings.Compare(a.word, b.word)
	})
	var out []string
	for _, g := range found {
		if !slices.Contains(out, g.word) {
			out = append(out, g.word)
		}
		if len(out) == n {
			break
		}
	}
	return out
}

// Hint says what was meant, as the end of an error: "; did you mean `a` or
// `b`?". It is "" where nothing looks alike.
func Hint(want string, all []string) string {
	found := Of(want, all, 3)
	if len(found) == 0 {
		return ""
	}
	for i, word := range found {
		found[i] = "`" + word + "`"
	}
	last := len(found) - 1
	if last == 0 {
		return "; did you mean " + found[0] + "?"
	}
	return "; did you mean " + strings.Join(found[:last], ", ") + " or " + found[last] + "?"
}

// HintAnd is Hint, and what else there is to know of what to choose from.
func HintAnd(want string, all []string, more string) string {
	hint := Hint(want, all)
	if hint == "" || more == "" {
		return "; " + more
	}
	return hint + " " + strings.ToUpper(more[:1]) + more[1:]
}

// fold is the word as it is compared.
func fold(word string) []rune {
	if len(word) > maxWord {
		word = word[:maxWord]
	}
	return []rune(strings.ToLower(word))
}

// distance is how many letters have to be added, dropped, changed or swapped
// with their neighbour to make one word of the other; beyond most it is any
// number larger than that.
func distance(a, b []rune, most int) int {
	if d := len(a) - len(b); d > most || -d > most {
		return most + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least > most {
			return most + 1
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
