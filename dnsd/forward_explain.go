package dnsd

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// explain answers f as it is answered to its client, and tells where the
// answer comes from, in a line for people. It counts as a query and may fill
// the cache, so that what it says is true.
func (u *forwarder) explain(ctx context.Context, f *forward) (*dns.Msg, string, error) {
	now := time.Now()
	if a := u.known(f, now); a != nil {
		return a.explained(f, now, fromCache)
	}
	came := make(chan *answer, 1)
	a, err := u.join(f, func(a *answer) { came <- a })
	switch {
	case err != nil:
		return f.failure(edeNotReady, err.Error()), err.Error(), nil
	case a != nil:
		return a.explained(f, now, fromCache)
	}
	select {
	case a = <-came:
		return a.explained(f, time.Now(), fromResolver)
	case <-ctx.Done():
		return nil, "", fmt.Errorf("ask the resolvers about %s: %w", f.key.name, ctx.Err())
	}
}

// how tells whether an answer was there already.
type how string

const (
	fromCache    how = "kept"
	fromResolver how = "asked"
)

func (a *answer) explained(f *forward, now time.Time, by how) (*dns.Msg, string, error) {
	m, err := a.message(&f.asker, now)
	if err != nil {
		return nil, "", err
	}
	return m, a.source(now, by), nil
}

// source is where a comes from.
func (a *answer) source(now time.Time, by how) string {
	who := "resolver " + a.server.String()
	if a.domain != "" {
		who += ", which is asked for " + a.domain
	}
	age, left := a.age(now), a.life-min(a.life, a.age(now))
	switch {
	case !a.server.IsValid() && a.domain != "" && a.note == "":
		return fmt.Sprintf("nobody is asked about %s, by its route", a.domain)
	case a.stale:
		return fmt.Sprintf("%s; it has expired and is given because there is no other answer (%s); the resolvers are asked again in %d s", who, a.note, left)
	case a.outcome == outcomeFailure && a.note != "":
		return "no resolver has an answer: " + a.note
	case by == fromCache:
		return fmt.Sprintf("%s, %d s ago; kept for %d s more", who, age, left)
	case a.life == 0:
		return who + ", asked just now; not to be kept"
	}
	return fmt.Sprintf("%s, asked just now; kept for %d s", who, a.life)
}
