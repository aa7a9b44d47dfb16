package stack

import (
	"context"
	"os"
	"testing"

	"github.com/dockstack/dockstack/test/lab"
)

// ForTest makes a stack's hosts for one test, and removes them at its end. If the test failed, it shows who is unwell.
func ForTest(tb testing.TB, opts Options) *Stack {
	tb.Helper()
	s, err := Start(tb.Context(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx := context.Background() // the test's own context has ended by now
		if tb.Failed() {
			tb.Log(s.Unwell(ctx))
		}
		if err := s.Stop(ctx); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Full skips a test unless heavy ones are wanted.
func Full(tb testing.TB) {
	tb.Helper()
	if os.Getenv("DOCKSTACK_STACK") != "full" {
		tb.Skip("a part of `make stack-full-test`: it takes long, and images that CI does not build (DOCKSTACK_STACK=full runs it)")
	}
}

// Same fails a test for every address that is otherwise than before, and says how many are.
func (s *Stack) Same(tb testing.TB, what string, before lab.Picture, networks ...string) {
	tb.Helper()
	now, err := s.Picture(tb.Context(), networks...)
	if err != nil {
		tb.Errorf("%s: %v", what, err)
		return
	}
	changed := before.Changed(now)
	for _, line := range changed {
		tb.Errorf("%s: %s", what, line)
	}
	tb.Logf("%s: %d of %d addresses changed", what, len(changed), len(before))
}
