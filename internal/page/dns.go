package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

// spark is the last hour of DNS as a line.
type spark struct {
	// Line and Failed are paths, Area the line closed to the ground.
	Line, Area, Failed string
	W, H               float64
	// Most is the highest rate, From and To the moments at both ends.
	Most, Text string
	From, To   time.Time
}

const (
	sparkWidth  = 720.0
	sparkHeight = 120.0
	sparkHour   = time.Hour
	// sparkPoints is how many a line has at most: samples are put together.
	sparkPoints = 180
)

// point is a rate at a moment.
type point struct {
	at              time.Time
	queries, failed float64
}

func drawSpark(samples []admin.DNSSample, now time.Time) spark {
	s := spark{W: sparkWidth, H: sparkHeight, From: now.Add(-sparkHour), To: now}
	points := rates(samples, s.From)
	if len(points) < 2 {
		return s
	}
	most := 1.0
	var sum, failed float64
	for _, p := range points {
		most = max(most, p.queries, p.failed)
		sum += p.queries
		failed += p.failed
	}
	s.Most = perSecond(uint64(most*1000), 1000)
	s.Text = fmt.Sprintf("Queries per second over the last hour: %s now, %s on average, %s at most.",
		perSecond(uint64(points[len(points)-1].queries*1000), 1000), perSecond(uint64(sum*1000), 1000*float64(len(points))), s.Most)
	x := func(at time.Time) float64 { return round(sparkWidth * float64(at.Sub(s.From)) / float64(sparkHour)) }
	y := func(v float64) float64 { return round(sparkHeight - 4 - (sparkHeight-10)*v/most) }
	var line, bad strings.Builder
	word, badWord := "M", "M"
	for i, p := range points {
		_, _ = fmt.Fprintf(&line, "%s%g %g", word, x(p.at), y(p.queries))
		word = "L"
		// The failures' line begins and ends on the ground, and is not drawn there.
		if p.failed > 0 || i > 0 && points[i-1].failed > 0 || i+1 < len(points) && points[i+1].failed > 0 {
			_, _ = fmt.Fprintf(&bad, "%s%g %g", badWord, x(p.at), y(p.failed))
			badWord = "L"
		} else {
			badWord = "M"
		}
	}
	s.Line = line.String()
	s.Area = fmt.Sprintf("%sL%g %gL%g %gZ", s.Line, x(points[len(points)-1].at), sparkHeight, x(points[0].at), sparkHeight)
	if failed > 0 {
		s.Failed = bad.String()
	}
	return s
}

// rates puts samples together to as many points as a line can show.
func rates(samples []admin.DNSSample, from time.Time) []point {
	var recent []admin.DNSSample
	for _, s := range samples {
		if s.At.After(from) && s.Seconds > 0 {
			recent = append(recent, s)
		}
	}
	each := (len(recent) + sparkPoints - 1) / sparkPoints
	var out []point
	for len(recent) > 0 {
		part := recent[:min(each, len(recent))]
		recent = recent[len(part):]
		var q, f uint64
		var seconds float64
		for _, s := range part {
			q, f, seconds = q+s.Queries, f+s.Failed, seconds+s.Seconds
		}
		out = append(out, point{part[len(part)-1].At, float64(q) / seconds, float64(f) / seconds})
	}
	return out
}

// counter is one of DNS' numbers.
type counter struct {
	Name, Note string
	N          uint64
	Bad        bool
}

func counters(d admin.DNSStatus) []counter {
	return []counter{
		{"Queries", "since the daemon's start", d.Queries, false},
		{"Answered", "from dockstack's own names", d.Answered, false},
		{"Forwarded", "asked of a resolver", d.Forwarded, false},
		{"From the cache", "asked before", d.Cached, false},
		{"Failed", "no resolver answered", d.Failed, d.Failed > 0},
		{"Limited", "a client asked too much", d.Limited, d.Limited > 0},
		{"Refused", "from an address that is not served", d.Refused, false},
		{"Malformed", "no DNS at all", d.Malformed, false},
	}
}
