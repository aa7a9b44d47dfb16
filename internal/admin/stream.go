package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// stream registers a call that answers bit by bit.
func (s *Server) stream(pattern string, fn func(w http.ResponseWriter, r *http.Request)) {
	s.routes = append(s.routes, pattern)
	s.mux.HandleFunc(pattern, fn)
}

// backup sends the backup as it is written. What is cut off lacks its end, which
// has its checksum.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	if !s.enter(w) {
		return
	}
	defer s.leave()
	ctx, cancel := context.WithTimeout(r.Context(), fileWithin)
	defer cancel()
	deadline(w, fileWithin)
	s.log.Info("an operator's call", "call", callBackup, "uid", callerOf(r.Context()))
	out := &begun{ResponseWriter: w}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := s.backend.Backup(ctx, out); err != nil {
		if !out.yes {
			writeError(w, timed(ctx, err))
			return
		}
		panic(http.ErrAbortHandler) // so that the client sees that it broke off
	}
}

// begun notes whether something was written.
type begun struct {
	http.ResponseWriter
	yes bool
}

// Write implements io.Writer.
func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.ResponseWriter.Write(p)
}

// line is one line of a watch; an empty one is a sign of life.
type line struct {
	Event *Event `json:"event,omitempty"`
	Error *Error `json:"error,omitempty"`
}

// watch sends events until the client goes, or does not keep up.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	since := LatestEvent
	if text := r.URL.Query().Get("since"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			writeError(w, Errorf(CodeUsage, "since is the number of an event, not `%s`", Plain(shorten(text))))
			return
		}
		since = n
	}
	select {
	case s.watches <- struct{}{}:
		defer func() { <-s.watches }()
	default:
		writeError(w, Errorf(CodeBusy, "%d others watch already; end one of them", maxWatches))
		return
	}
	events := s.backend.Watch(since)
	defer events.Close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	deadline(w, writeWithin)
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{})
	if _, err := io.WriteString(w, "\n"); err != nil || out.Flush() != nil {
		return
	}
	enc := json.NewEncoder(w)
	for {
		batch, err := next(r.Context(), events)
		_ = out.SetWriteDeadline(time.Now().Add(writeWithin))
		for i := range batch {
			if enc.Encode(line{Event: &batch[i]}) != nil {
				return
			}
		}
		switch {
		case err == nil:
		case r.Context().Err() != nil:
			_ = enc.Encode(line{Error: &Error{Code: CodeAway, Text: "the daemon ends"}})
			_ = out.Flush()
			return
		case errors.Is(err, context.DeadlineExceeded):
			_, err = io.WriteString(w, "\n")
		}
		if err != nil {
			_ = enc.Encode(line{Error: &Error{Code: CodeOf(err), Text: err.Error()}})
			_ = out.Flush()
			return
		}
		if out.Flush() != nil {
			return
		}
	}
}

// next is Next with an end after a heartbeat's time.
func next(ctx context.Context, events Watch) ([]Event, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	return events.Next(ctx)
}
