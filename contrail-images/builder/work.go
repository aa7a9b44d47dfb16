package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// work is one run over a plan. One goroutine has its state and its output; each image that is being made has another,
// which only tells how that ended.
type work struct {
	graph   *graph
	options *options
	out     io.Writer
	all     []*image

	state   map[*image]state
	since   map[*image]time.Time
	reports int // how many images are dealt with
}

type state int

const (
	waiting state = iota
	working
	done
	failed
	left // not tried
)

type outcome struct {
	image *image
	size  int64
	took  time.Duration
	err   error
}

// How often a run says what it is still at: some packages take minutes, and some logs are read by machines that take
// silence for death.
const heartbeat = 30 * time.Second

func (w *work) run(ctx context.Context) error {
	if err := os.MkdirAll(w.options.logs, 0o755); err != nil {
		return fmt.Errorf("folder of the logs: %w", err)
	}
	w.state, w.since = map[*image]state{}, map[*image]time.Time{}
	start := time.Now()
	outcomes := make(chan outcome)
	still := time.NewTicker(heartbeat)
	defer still.Stop()
	for running := 0; ; {
		for running < w.options.jobs && ctx.Err() == nil {
			next := w.next()
			if next == nil {
				break
			}
			w.state[next], w.since[next] = working, time.Now()
			running++
			go func() { outcomes <- w.make(ctx, next) }()
		}
		if running == 0 {
			break
		}
		select {
		case o := <-outcomes:
			running--
			w.report(o)
		case <-still.C:
			w.sayStill()
		}
	}
	return w.summary(ctx, time.Since(start))
}

// next is an image that nothing holds back. Those that stand on a failed one are given up here.
func (w *work) next() *image {
	for _, i := range w.all {
		if w.state[i] != waiting {
			continue
		}
		ready := true
		for _, other := range i.on {
			switch {
			case !slices.Contains(w.all, other) || w.options.pushOnly:
			case w.state[other] == failed, w.state[other] == left:
				w.state[i], ready = left, false
				w.say(i, "not built, because "+other.name+" was not")
			case w.state[other] != done:
				ready = false
			}
			if w.state[i] == left {
				break
			}
		}
		if ready {
			return i
		}
	}
	return nil
}

// make runs the commands of one image, with all that they print in its log.
func (w *work) make(ctx context.Context, i *image) (o outcome) {
	o.image = i
	start := time.Now()
	defer func() { o.took = time.Since(start) }()
	log, err := os.Create(w.log(i))
	if err != nil {
		o.err = err
		return o
	}
	defer func() { o.err = errors.Join(o.err, log.Close()) }()
	for _, c := range w.graph.commands(i, w.options) {
		if c.args[1] == "push" {
			if o.err = checkPush(ctx, i); o.err != nil {
				return o
			}
		}
		if o.err = c.execute(ctx, log); o.err != nil {
			return o
		}
		if c.args[1] == "build" && c.args[0] == "docker" {
			if o.size, o.err = checkLabels(ctx, i); o.err != nil {
				return o
			}
		}
	}
	return o
}

func (w *work) log(i *image) string { return filepath.Join(w.options.logs, i.name+".log") }

func (w *work) report(o outcome) {
	if o.err == nil {
		w.state[o.image] = done
		text := seconds(o.took)
		if o.size > 0 {
			text += "  " + megabytes(o.size)
		}
		w.say(o.image, text)
		return
	}
	w.state[o.image] = failed
	if errors.Is(o.err, errInterrupted) {
		w.say(o.image, "interrupted after "+seconds(o.took))
		return
	}
	w.say(o.image, fmt.Sprintf("FAILED after %s: %v\n    the end of %s:\n%s", seconds(o.took), o.err, w.log(o.image), tail(w.log(o.image), 25)))
}

func (w *work) say(i *image, text string) {
	w.reports++
	sayf(w.out, "[%2d/%d] %-26s %s\n", w.reports, len(w.all), i.name, text)
}

func (w *work) sayStill() {
	var at []string
	for _, i := range w.in(working) {
		at = append(at, i.name+" since "+seconds(time.Since(w.since[i])))
	}
	sayf(w.out, "        still at %s\n", strings.Join(at, ", "))
}

func (w *work) in(s state) []*image {
	return slices.DeleteFunc(slices.Clone(w.all), func(i *image) bool { return w.state[i] != s })
}

func (w *work) summary(ctx context.Context, took time.Duration) error {
	word := "built"
	if w.options.pushOnly {
		word = "pushed"
	} else if w.options.push {
		word = "built and pushed"
	}
	sayf(w.out, "%d of %d images %s in %s\n", len(w.in(done)), len(w.all), word, seconds(took))
	var wrong []string
	if names := nameList(w.in(failed)); names != "" {
		wrong = append(wrong, "failed: "+names)
	}
	if names := nameList(append(w.in(left), w.in(waiting)...)); names != "" {
		wrong = append(wrong, "not tried: "+names)
	}
	if ctx.Err() != nil {
		wrong = append([]string{"interrupted"}, wrong...)
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// nameList names images, or the first ones of many.
func nameList(images []*image) string {
	names := make([]string, 0, len(images))
	for _, i := range images {
		names = append(names, i.name)
	}
	if more := len(names) - 10; more > 1 {
		names = append(names[:10], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func megabytes(bytes int64) string { return fmt.Sprintf("%d MB", (bytes+500_000)/1_000_000) }
