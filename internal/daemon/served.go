package daemon

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/events"
	"github.com/dockstack/dockstack/plugin"
)

// served takes down a call of the engine's.
func (p *parts) served(c plugin.Call) {
	p.metrics.Call(c.Path, c.Took, c.Err)
	if c.Err != nil {
		p.refusals.tell(p.ring, c.Path, p.cfg.onHost(c.Err.Error()), time.Now())
	}
	switch {
	case errors.Is(c.Err, plugin.ErrJoin):
		p.healer.Losing(context.Background()) // its caller is told after this
	case errors.Is(c.Err, plugin.ErrCut):
		p.healer.Missed()
	}
}

// refusedAgain is how long the same refusal is no news: a container that is to be
// restarted always comes back every minute at the latest, and would fill the
// history by itself.
const refusedAgain = 10 * time.Minute

// refusals are what the engine was told instead of what it wanted.
type refusals struct {
	mu sync.Mutex
	at map[string]time.Time // when each text was told; guarded by mu
}

func (r *refusals) tell(ring *events.Ring, path, why string, now time.Time) {
	_, call, _ := strings.Cut(path, ".")
	text := call + " was refused: " + why
	r.mu.Lock()
	defer r.mu.Unlock()
	for old, at := range r.at {
		if now.Sub(at) >= refusedAgain {
			delete(r.at, old)
		}
	}
	if _, told := r.at[text]; told {
		return
	}
	if r.at == nil || len(r.at) >= events.Kept {
		r.at = map[string]time.Time{}
	}
	r.at[text] = now
	ring.Add(admin.Event{Kind: admin.EventRefused, Text: text})
}
