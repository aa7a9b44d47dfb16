package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"time"
)

// What calls that carry a file may take. The files of 200,000 names are smaller.
const (
	// MaxImport and MaxRestore are how large an import, as JSON, and a backup to
	// put back may be.
	MaxImport  = 32 << 20
	MaxRestore = 64 << 20
	// maxListed bounds each list of an import: a short text makes many empty
	// entries, which take more room than they look like.
	maxListed  = 200_000
	maxSubnets = 1000

	// bodyWithin is how long a file may take to come, stalled how long nothing of
	// it may: while it comes, no other one can.
	bodyWithin = time.Minute
	stalled    = 10 * time.Second
	// freedFrom is the size from which on memory goes back to the system at once.
	freedFrom = 4 << 20
)

// handleFile registers a call that carries a file. One is answered at a time, as
// a file in work takes some times its size; the next waits, and takes none of the
// other calls' places.
func (s *Server) handleFile(pattern string, limit int64, fn func(ctx context.Context, r *http.Request) (any, error)) {
	s.routes = append(s.routes, pattern)
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > limit {
			writeError(w, tooLarge(limit))
			return
		}
		patience := time.NewTimer(callWithin)
		defer patience.Stop()
		select {
		case s.file <- struct{}{}:
			defer func() { <-s.file }()
		case <-patience.C:
			writeError(w, Errorf(CodeBusy, "another import or restore is under way; try again when it is through"))
			return
		case <-r.Context().Done():
			writeError(w, Errorf(CodeAway, "the daemon ends"))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), fileWithin)
		defer cancel()
		deadline(w, fileWithin)
		body := &pacedBody{ReadCloser: http.MaxBytesReader(w, r.Body, limit), c: http.NewResponseController(w), end: time.Now().Add(bodyWithin)}
		defer func() {
			if body.n > freedFrom {
				debug.FreeOSMemory()
			}
		}()
		r.Body = body
		s.log.Info("an operator's call", "call", pattern, "uid", callerOf(r.Context()))
		out, err := fn(ctx, r)
		if err != nil {
			writeError(w, timed(ctx, body.explain(err)))
			return
		}
		deadline(w, writeWithin)
		writeJSON(w, http.StatusOK, out)
	})
}

// pacedBody is a body that has to keep coming.
type pacedBody struct {
	io.ReadCloser
	c   *http.ResponseController
	end time.Time
	n   int64
	err error
}

// Read implements io.Reader.
func (b *pacedBody) Read(p []byte) (int, error) {
	next := time.Now().Add(stalled)
	if next.After(b.end) {
		next = b.end
	}
	_ = b.c.SetReadDeadline(next) // recorders of tests have none
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if err != nil {
		b.err = err
		// The server goes on to look whether the client is there.
		_ = b.c.SetReadDeadline(time.Now().Add(fileWithin))
	}
	return n, err
}

// explain says what was wrong with the body where that is why a call failed.
func (b *pacedBody) explain(err error) error {
	if large, ok := errors.AsType[*http.MaxBytesError](b.err); ok {
		return tooLarge(large.Limit)
	}
	if errors.Is(b.err, os.ErrDeadlineExceeded) {
		return Errorf(CodeFailed, "the file came too slowly: it may take %s, and no pause of %s; nothing was changed", bodyWithin, stalled)
	}
	return err
}

func tooLarge(limit int64) error {
	if limit < 1<<20 {
		return Errorf(CodeUsage, "the call's body is larger than %d bytes", limit)
	}
	return Errorf(CodeUsage, "the call's body is larger than %d MB, which is the most", limit>>20)
}

// readImport reads an import entry by entry, so that its text is never in memory
// as a whole.
func readImport(r *http.Request) (Import, error) {
	var in Import
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := in.read(dec)
	if errors.Is(err, io.EOF) && dec.InputOffset() > 0 {
		err = io.ErrUnexpectedEOF
	}
	return in, ended(dec, err)
}

// errShape is an error for what is JSON, and no import.
var errShape = errors.New("an import is an object")

func (in *Import) read(dec *json.Decoder) error {
	if first, err := dec.Token(); err != nil {
		return err
	} else if first != json.Delim('{') {
		return errShape
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string) // the decoder takes nothing else for a key
		if seen[key] {
			return Errorf(CodeUsage, "the call's body has `%s` twice", Plain(shorten(key)))
		}
		seen[key] = true
		switch key {
		case "reservations":
			err = readList(dec, &in.Reservations, maxListed, "names")
		case "subnets":
			err = readList(dec, &in.Subnets, maxSubnets, "subnets")
		case "records":
			err = readList(dec, &in.Records, maxListed, "DNS records")
		case "dry_run":
			err = dec.Decode(&in.DryRun)
		default:
			err = Errorf(CodeUsage, "the call's body can't be read: unknown field `%s`", Plain(shorten(key)))
		}
		if err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

// readList reads a list of at most that many.
func readList[T any](dec *json.Decoder, into *[]T, most int, what string) error {
	switch first, err := dec.Token(); {
	case err != nil:
		return err
	case first == nil:
		return nil
	case first != json.Delim('['):
		return Errorf(CodeUsage, "the call's body can't be read: its %s are no list", what)
	}
	for dec.More() {
		if len(*into) == most {
			return Errorf(CodeUsage, "there are more than %d %s; import the file in parts", most, what)
		}
		var one T
		if err := dec.Decode(&one); err != nil {
			return err
		}
		*into = append(*into, one)
	}
	_, err := dec.Token()
	return err
}
