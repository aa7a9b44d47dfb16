package page

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"html/template"
	"net/http"
	"slices"
	"time"
)

// servePage answers with the whole page.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	v := parseView(r.URL.Query())
	ctx, cancel := context.WithTimeout(r.Context(), askFor)
	defer cancel()
	p := s.desk.look(ctx)
	l := layout{View: v, P: p, Health: judge(p)}
	for _, h := range p.Status.Hosts {
		if h.Self {
			l.Self = h.Name
		}
	}
	for _, id := range sections {
		html, err := s.render(ctx, id, p, v)
		if err != nil {
			s.failed(w, err)
			return
		}
		l.Sections = append(l.Sections, section{id, template.HTML(html)}) //nolint:gosec // a template made and escaped it
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, "page", l); err != nil {
		s.failed(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // a browser that went away needs no answer
}

// servePart answers with one section, for a view that the user just chose.
func (s *Server) servePart(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("section")
	if !slices.Contains(sections, id) {
		http.NotFound(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askFor)
	defer cancel()
	html, err := s.render(ctx, id, s.desk.look(ctx), parseView(r.URL.Query()))
	if err != nil {
		s.failed(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(html) //nolint:gosec // a template made and escaped it
}

func (s *Server) failed(w http.ResponseWriter, err error) {
	s.cfg.Log.Debug("a request for the status page failed", "error", err)
	http.Error(w, "The page could not be made in time; try again.", http.StatusServiceUnavailable)
}

const (
	// streamEvery is how often a stream looks whether something changed.
	streamEvery = time.Second
	// streamTick is how often it says that the daemon is there.
	streamTick = 2 * time.Second
	// streamWrite is how long a browser may take for a message.
	streamWrite = 10 * time.Second
)

var seed = maphash.MakeSeed()

// serveStream sends the sections of a view now, and again whenever they change.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "Too many pages are open; this one asks again from time to time.", http.StatusServiceUnavailable)
		return
	}
	s.watching.Add(1)
	defer s.watching.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	st := &stream{s: s, w: w, control: http.NewResponseController(w), view: parseView(r.URL.Query()), sent: map[string]uint64{}}
	if r.Method == http.MethodHead {
		return
	}
	every := time.NewTicker(streamEvery)
	defer every.Stop()
	for {
		if err := st.update(r.Context()); err != nil {
			s.cfg.Log.Debug("a stream of the status page ended", "error", err)
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.stopping:
			return
		case <-every.C:
		}
	}
}

// stream is one browser that is kept up to date.
type stream struct {
	s       *Server
	w       http.ResponseWriter
	control *http.ResponseController
	view    view
	sent    map[string]uint64 // a section's hash
	ticked  time.Time
}

// message is a section as the browser gets it.
type message struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
}

func (st *stream) update(ctx context.Context) error {
	_ = st.control.SetWriteDeadline(time.Now().Add(streamWrite)) // a test's recorder has none
	p := st.s.desk.look(ctx)
	news := false
	for _, id := range sections {
		html, err := st.s.render(ctx, id, p, st.view)
		if err != nil {
			return err
		}
		hash := maphash.Bytes(seed, html)
		if old, was := st.sent[id]; was && old == hash {
			continue
		}
		st.sent[id] = hash
		text, err := json.Marshal(message{id, string(html)})
		if err != nil {
			return fmt.Errorf("write a message: %w", err)
		}
		if _, err = fmt.Fprintf(st.w, "event: section\ndata: %s\n\n", text); err != nil {
			return fmt.Errorf("send a section: %w", err)
		}
		news = true
	}
	if news || time.Since(st.ticked) >= streamTick {
		st.ticked = time.Now()
		if _, err := fmt.Fprintf(st.w, "event: tick\ndata: %s\n\n", p.At.UTC().Format(time.RFC3339)); err != nil {
			return fmt.Errorf("send the time: %w", err)
		}
	}
	if err := st.control.Flush(); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}
