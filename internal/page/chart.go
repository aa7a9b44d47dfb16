package page

import (
	"fmt"
	"math"
	"slices"

	"github.com/dockstack/dockstack/internal/admin"
)

// Kinds of a chart: what a node looks like.
const (
	chartBoxes = "boxes"
	chartNamed = "named"
	chartDots  = "dots"
)

// chart is the hosts as a picture: this one in the middle.
type chart struct {
	Kind, Class string
	W, H        float64
	Nodes       []node
}

// node is a host at its place; X1 and Y1 are where its line begins.
type node struct {
	hostView
	X, Y, W, H, X1, Y1 float64
	Short, Sub         string
	// Labelled: its name stands below it, where it is not in a box.
	Labelled bool
	// R is the radius of its circle, 0 where it has a box.
	R float64
}

// Left and Top are the corner of its box.
func (n node) Left() float64 { return n.X - n.W/2 }
func (n node) Top() float64  { return n.Y - n.H/2 }

// Cross is a mark over what is missing or broken.
func (n node) Cross() string {
	x, y, r := n.X, n.Y, min(5, 0.75*n.R)
	if n.R == 0 {
		x, y, r = n.Left()+n.W-14, n.Top()+14, 5
	}
	return fmt.Sprintf("M%g %gl%g %gm0 %gl%g %g", round(x-r), round(y-r), 2*r, 2*r, -2*r, -2*r, 2*r)
}

// Below is where its name stands.
func (n node) Below() float64 { return round(n.Y + n.R + 14) }

const (
	mostBoxes = 9
	mostNamed = 25
)

// shape is what a chart has room for.
type shape struct {
	class                 string
	width, boxW, boxH     float64
	rx, ry, small         float64 // of the ellipse of boxes; small: with few
	namedRX, namedRY, gap float64
	dotsRX, dotsRY        float64
	letters               int
}

var (
	wide   = shape{class: "wide", width: 760, boxW: 164, boxH: 60, rx: 290, ry: 130, small: 34, namedRX: 325, namedRY: 165, gap: 46, dotsRX: 350, dotsRY: 210, letters: 20}
	narrow = shape{class: "narrow", width: 360, boxW: 112, boxH: 50, rx: 118, ry: 195, small: 105, namedRX: 140, namedRY: 215, gap: 42, dotsRX: 165, dotsRY: 165, letters: 13}
)

// drawHosts places the hosts; of them there is one at least.
func drawHosts(hosts []hostView, s shape) chart {
	c := chart{Class: s.class, W: s.width}
	var places [][2]float64
	others := len(hosts) - 1
	switch {
	case len(hosts) <= mostBoxes:
		c.Kind = chartBoxes
		places, c.H = s.boxes(others)
	case len(hosts) <= mostNamed:
		c.Kind, c.H = chartNamed, 2*s.namedRY+60
		places = s.named(others)
	default:
		c.Kind, c.H = chartDots, 2*s.dotsRY+30
		places = s.rings(others)
	}
	midX, midY := c.W/2, c.H/2
	if c.Kind == chartBoxes && others == 1 && s.class == wide.class {
		midX -= s.rx / 2
	}
	if c.Kind == chartBoxes && others == 1 && s.class == narrow.class {
		midY -= s.small / 2
	}
	for i, h := range hosts {
		n := node{hostView: h, X: midX, Y: midY, X1: midX, Y1: midY, W: s.boxW, H: s.boxH}
		if i > 0 {
			n.X, n.Y = round(midX+places[i-1][0]), round(midY+places[i-1][1])
		}
		n.R = s.radius(c.Kind, h.State, others)
		n.Labelled = c.Kind == chartNamed || h.State != hostUp
		n.Short = shorten(admin.Plain(h.Name), s.letters)
		n.Sub = h.Word()
		if h.State == hostUp || h.State == hostSelf {
			n.Sub = plural(h.Live, "address", "addresses")
		}
		c.Nodes = append(c.Nodes, n)
	}
	return c
}

// boxes are places around the middle for few hosts.
func (s shape) boxes(n int) (places [][2]float64, height float64) {
	ry := s.ry
	if n <= 2 {
		ry = s.small
	}
	for i := range n {
		switch {
		case n == 1 && s.class == wide.class:
			places = append(places, [2]float64{s.rx, 0})
		case n == 1:
			places = append(places, [2]float64{0, s.small})
		case n == 2 && s.class == wide.class:
			places = append(places, [2]float64{s.rx * float64(2*i-1), 0})
		case n == 2:
			places = append(places, [2]float64{0, s.small * float64(2*i-1)})
		default:
			a := 2*math.Pi*float64(i)/float64(n) - math.Pi/2
			places = append(places, [2]float64{s.rx * math.Cos(a), ry * math.Sin(a)})
		}
	}
	switch {
	case n == 0:
		return places, s.boxH + 2*wide.small
	case n <= 2 && s.class == wide.class:
		return places, s.boxH + 2*s.small
	case n == 1:
		return places, s.boxH + s.small + 30
	}
	return places, 2*ry + s.boxH + 10
}

// radius is that of a host's circle.
func (s shape) radius(kind, state string, others int) float64 {
	r := 6.5
	switch {
	case kind == chartBoxes:
		return 0
	case kind == chartNamed:
		r = 11
	case s.class == narrow.class && others > 100:
		r = 4.5
	}
	if state == hostSelf {
		r *= 1.7
	}
	return r
}

// named are places for dots with names, every second one further in so that
// there is room for them.
func (s shape) named(n int) [][2]float64 {
	var out [][2]float64
	for i := range n {
		a := 2*math.Pi*float64(i)/float64(n) - math.Pi/2
		in := 0.0
		if i%2 == 1 && n > 10 {
			in = s.gap
		}
		out = append(out, [2]float64{(s.namedRX - in) * math.Cos(a), (s.namedRY - in) * math.Sin(a)})
	}
	return out
}

// rings are places for any number of dots on ellipses around the middle.
func (s shape) rings(n int) [][2]float64 {
	rings := max(2, int(math.Ceil(math.Sqrt(float64(n)/13))))
	total := 0.0
	for r := range rings {
		total += ring(r, rings)
	}
	var out [][2]float64
	left, share := n, total
	for r := range rings {
		f := ring(r, rings)
		here := int(math.Round(float64(left) * f / share))
		if r == rings-1 {
			here = left
		}
		left, share = left-here, share-f
		for i := range here {
			a := 2*math.Pi*(float64(i)+0.5*float64(r%2))/float64(here) - math.Pi/2
			out = append(out, [2]float64{s.dotsRX * f * math.Cos(a), s.dotsRY * f * math.Sin(a)})
		}
	}
	return out
}

// ring is the radius of ring r of all, as a share of the outermost.
func ring(r, all int) float64 { return 0.34 + 0.66*float64(r)/float64(all-1) }

func round(x float64) float64 { return math.Round(x*10) / 10 }

// shorten keeps the beginning and the end of a name, which tell hosts apart.
func shorten(name string, letters int) string {
	r := []rune(name)
	if len(r) <= letters {
		return name
	}
	end := letters / 2
	return string(slices.Concat(r[:letters-end-1], []rune("…"), r[len(r)-end:]))
}
