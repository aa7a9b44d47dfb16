package lab

import (
	"context"
	"testing"
)

// ForTest starts a lab for one test and stops it at the end.
func ForTest(tb testing.TB, opts Options) *Lab {
	tb.Helper()
	l, err := Start(tb.Context(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			for _, h := range l.Hosts {
				tb.Log(h.logTail())
			}
		}
		if err := l.Stop(context.Background()); err != nil { // the test's own context has ended by now
			tb.Error(err)
		}
	})
	return l
}
