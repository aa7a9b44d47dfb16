package peers

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/dockstack/dockstack/internal/kv"
)

// identityKey is where a host's local store keeps its id.
const identityKey = "host-id"

// identityBytes make two equal ids among a million hosts a matter of one in
// forty million.
const identityBytes = 8

// Identity returns the id of the host whose local store this is. The first
// call makes it.
func Identity(ctx context.Context, local kv.Store) (string, error) {
	id, err := readIdentity(ctx, local)
	if err != nil || id != "" {
		return id, err
	}
	id = newID()
	err = local.Commit(ctx, []kv.Op{{Key: identityKey, Value: []byte(id)}}, kv.Cond{Key: identityKey, Absent: true})
	if conflict := (*kv.Conflict)(nil); errors.As(err, &conflict) {
		return readIdentity(ctx, local)
	}
	if err != nil {
		return "", fmt.Errorf("write this host's id: %w", err)
	}
	return id, nil
}

func readIdentity(ctx context.Context, local kv.Store) (string, error) {
	var id string
	err := local.Load(ctx, identityKey, func(key string, value []byte) error {
		if key != identityKey {
			return nil
		}
		if id = string(value); !validID(id) {
			return fmt.Errorf("%w: record %s is no host's id: %.32q", kv.ErrDamaged, identityKey, id)
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read this host's id: %w", err)
	}
	return id, nil
}

func newID() string {
	id := make([]byte, identityBytes)
	_, _ = rand.Read(id) // it never fails
	return hex.EncodeToString(id)
}
