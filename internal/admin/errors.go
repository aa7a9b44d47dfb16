package admin

import (
	"errors"
	"fmt"
	"net/http"
)

// Code is what kind of failure an error is; scripts rely on it.
type Code string

// The codes.
const (
	// CodeFailed: it was tried and did not work.
	CodeFailed Code = "failed"
	// CodeUsage: what was asked makes no sense.
	CodeUsage Code = "usage"
	// CodeNotFound: nothing has that name.
	CodeNotFound Code = "not_found"
	// CodeClash: it is refused, because something else is in its way.
	CodeClash Code = "clash"
	// CodeAway: what it needs, such as the store, is not there now.
	CodeAway Code = "away"
	// CodeBusy: too much is asked at once.
	CodeBusy Code = "busy"
)

// status is how HTTP says it.
func (c Code) status() int {
	switch c {
	case CodeUsage:
		return http.StatusBadRequest
	case CodeNotFound:
		return http.StatusNotFound
	case CodeClash:
		return http.StatusConflict
	case CodeAway:
		return http.StatusServiceUnavailable
	case CodeBusy:
		return http.StatusTooManyRequests
	default:
		return http.StatusInternalServerError
	}
}

// Error is a failure as the API tells it.
type Error struct {
	Code Code   `json:"code"`
	Text string `json:"error"`
	// Plan is what an import that clashes would have done.
	Plan *Plan `json:"plan,omitempty"`
	// Restore is what a restore that clashes would have done.
	Restore *Restore `json:"restore,omitempty"`
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Errorf makes an Error. What its arguments wrap is lost: it ends here.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// CodeOf is the error's code, CodeFailed where it has none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeFailed
}
