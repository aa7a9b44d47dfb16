package ipam

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"github.com/dockstack/dockstack/internal/kv"
)

// lookAtUses reads who uses pools, where a conflict told that they came into
// use or changed: that comes with the other news, but decisions of this moment
// rest on it. What several hosts have must not become what the last one wants
// because its news were late. It tells whether the reading failed.
func (r *Registry) lookAtUses(ctx context.Context, t *tx, told []kv.Op) (failed bool) {
	var prefixes []string
	epoch := ""
	for _, op := range told {
		if sameValue(r.stored(op.Key), op) {
			continue
		}
		if id, ok := strings.CutPrefix(op.Key, poolPrefix); ok {
			prefixes = append(prefixes, usePrefix+id+"/")
		}
		if op.Key == epochKey {
			epoch = string(op.Value)
		}
	}
	if epoch != "" {
		prefixes = []string{poolPrefix, usePrefix}
	}
	for _, prefix := range prefixes {
		err := r.cfg.Shared.Load(ctx, prefix, func(key string, value []byte) error {
			t.learn(kv.Op{Key: strings.Clone(key), Value: bytes.Clone(value)})
			return nil
		})
		if err != nil {
			return true // the next commit says why
		}
	}
	if n, err := strconv.ParseUint(epoch, 10, 64); err == nil && n > r.epoch {
		t.setEpoch(n)
	}
	return false
}
