package page

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

// plural counts something.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(int64(n)) + " " + many
}

// thin is the space between groups of digits; it does not break.
const thin = "\u202f"

// grouped is a number as people read it: 65 536.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	if n < 10_000 && n > -10_000 {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		if i > 0 && (len(text)-i)%3 == 0 && text[i-1] != '-' {
			b.WriteString(thin)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// free is how many addresses are free, of which there may be too many to count.
func free(n int64) string {
	if n >= admin.MaxFree {
		return "more than 10¹²"
	}
	return grouped(n)
}

func perSecond(n uint64, seconds float64) string {
	if seconds <= 0 {
		return "0"
	}
	switch per := float64(n) / seconds; {
	case per == 0:
		return "0"
	case per < 10:
		return strconv.FormatFloat(per, 'f', 1, 64)
	default:
		return grouped(int64(per + 0.5))
	}
}

// stamp is a moment in UTC, as the status file has it.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
}

// span is how long something lasted, in the two largest units.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	days := int(d / (24 * time.Hour))
	hours, minutes, seconds := int(d.Hours())%24, int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%d min %d s", minutes, seconds)
	}
	return fmt.Sprintf("%d s", max(seconds, 0))
}
