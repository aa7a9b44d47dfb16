package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// writeJSON answers with a value. Lists go out one by one, so that all leases of
// a large installation are not in memory once more as text.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	// Who asked went away where this fails.
	if list, ok := value.([]Lease); ok {
		_ = writeList(out, enc, list)
	} else {
		_ = enc.Encode(value)
	}
	_ = out.Flush()
}

func writeList[T any](w *bufio.Writer, enc *json.Encoder, list []T) error {
	_ = w.WriteByte('[')
	for i := range list {
		if i > 0 {
			_ = w.WriteByte(',')
		}
		if err := enc.Encode(&list[i]); err != nil {
			return err
		}
	}
	_, err := w.WriteString("]\n")
	return err
}

func writeError(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Code: CodeFailed, Text: err.Error()}
	}
	writeJSON(w, e.Code.status(), e)
}

// readJSON reads a call's body, all of it and nothing else. A field that is not
// known would be an order that is not followed.
func readJSON(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	return ended(dec, dec.Decode(into))
}

// ended is how reading a body ended: well where there is no more of it.
func ended(dec *json.Decoder, err error) error {
	if err == nil {
		if _, more := dec.Token(); errors.Is(more, io.EOF) {
			return nil
		}
		return Errorf(CodeUsage, "the call's body goes on after its end")
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(large.Limit)
	}
	if told, ok := errors.AsType[*Error](err); ok {
		return told
	}
	if errors.Is(err, io.EOF) {
		return Errorf(CodeUsage, "the call has no body")
	}
	return Errorf(CodeUsage, "the call's body can't be read: %s", Plain(shorten(err.Error())))
}
