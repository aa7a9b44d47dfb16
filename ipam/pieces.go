package ipam

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// inPieces carries out what one commit can't take.
func (r *Registry) inPieces(ctx context.Context, what string, b *bulk) error {
	err := r.note(ctx, what, b)
	for from := 0; err == nil && from < b.steps(); {
		var next int
		err = r.change(ctx, func(t *tx) error {
			if err := t.needStore(); err != nil {
				return err
			}
			m := t.mark()
			t.guard(intentKey(r.cfg.Host))
			var err error
			next, err = t.carryOut(b, m, from)
			return err
		})
		from = next
	}
	all := err == nil
	if all {
		if err = r.endIntent(ctx, r.cfg.Host); err == nil {
			return nil
		}
	}
	// Also where the caller went away.
	undoing, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoWithin)
	defer cancel()
	found, failed := r.undoOf(undoing, r.cfg.Host)
	switch {
	case failed != nil:
		r.flushSoon()
		return fmt.Errorf("%w; what was changed so far is undone as soon as the store takes it", err)
	case all && !found:
		return nil // only the answer to the last commit got lost
	}
	return err
}

// undoWithin is how long somebody waits for what failed to be undone; it goes on
// behind him.
const undoWithin = 20 * time.Second

// note writes the intent.
func (r *Registry) note(ctx context.Context, what string, b *bulk) error {
	var parts [][]byte
	err := r.run(ctx, &call{reads: true, do: func(*tx) error {
		var err error
		parts, err = r.intentParts(b)
		return err
	}})
	host := r.cfg.Host
	for n, part := range parts {
		if err == nil {
			err = r.writeIntent(ctx, intentPartKey(host, n), part)
		}
	}
	if err != nil {
		return err
	}
	head, err := json.Marshal(intent{Version: recordVersion, What: what, At: now(r.cfg), Names: len(b.items), Parts: len(parts)})
	if err != nil {
		return err
	}
	return r.writeIntent(ctx, intentKey(host), head)
}

func (r *Registry) writeIntent(ctx context.Context, key string, value []byte) error {
	return r.change(ctx, func(t *tx) error {
		if err := t.needStore(); err != nil {
			return err
		}
		t.writeImport(key, value)
		return nil
	})
}

// endIntent removes a host's intent. With its head the change is done, or
// undone; its parts alone say nothing.
func (r *Registry) endIntent(ctx context.Context, host string) error {
	err := r.dropIntent(ctx, host, intentKey(host))
	if err != nil {
		return err
	}
	var parts []string
	err = r.read(ctx, func(*tx) {
		for key := range r.imports {
			if strings.HasPrefix(key, intentKey(host)+"/") {
				parts = append(parts, key)
			}
		}
	})
	for _, key := range parts {
		if err == nil {
			err = r.dropIntent(ctx, host, key)
		}
	}
	if err != nil {
		r.flushSoon()
		r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "what an import noted in the store stays there for now", slog.String("host", host), slog.Any("error", err))
	}
	return nil
}

func (r *Registry) dropIntent(ctx context.Context, host, key string) error {
	return r.change(ctx, func(t *tx) error {
		if err := t.needStore(); err != nil {
			return err
		}
		if r.imports[key] == nil {
			return nil
		}
		t.guardDead(host)
		t.writeImport(key, nil)
		return nil
	})
}
