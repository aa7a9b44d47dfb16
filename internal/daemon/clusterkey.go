package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/peers"
)

// clusterKey is where a shared store says which cluster's it is, and a host's
// own store of which cluster's it is a copy.
const clusterKey = "cluster"

// clusterFormat is the format of all that this version writes to a shared store.
const clusterFormat = 1

// clusterRecord is what stands under clusterKey. The zero value: nothing.
type clusterRecord struct {
	ID     string `json:"id"`
	Format int    `json:"format"`
}

// errRefused is wrapped by the errors of a shared store that must not be used.
var errRefused = errors.New("the shared store can't be used")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errRefused, fmt.Errorf(format, args...))
}

// decodeCluster reads the record; a newer format is no error here.
func decodeCluster(value []byte) (clusterRecord, error) {
	var r clusterRecord
	if err := json.Unmarshal(value, &r); err != nil || r.ID == "" || len(r.ID) > 64 || r.Format <= 0 {
		return clusterRecord{}, fmt.Errorf("%.64q names no cluster", value)
	}
	return r, nil
}

func (r clusterRecord) encode() []byte {
	value, err := json.Marshal(r)
	if err != nil {
		panic(err) // it has a text and a number
	}
	return value
}

// readKey returns the value of one key, nil if it isn't there.
func readKey(ctx context.Context, store kv.Store, key string) ([]byte, error) {
	var out []byte
	err := store.Load(ctx, key, func(k string, value []byte) error {
		if k == key {
			out = append([]byte{}, value...)
		}
		return nil
	})
	return out, err
}

// copyOf returns the cluster that a host's own store is a copy of.
func copyOf(ctx context.Context, local kv.Store) (clusterRecord, error) {
	value, err := readKey(ctx, local, clusterKey)
	if err != nil || value == nil {
		return clusterRecord{}, err
	}
	r, err := decodeCluster(value)
	if err != nil {
		return r, fmt.Errorf("%w: record %s: %w", kv.ErrDamaged, clusterKey, err)
	}
	return r, nil
}

// leave makes a host's own store one that is nobody's copy.
func leave(ctx context.Context, local kv.Store) error {
	ops := []kv.Op{{Key: clusterKey, Delete: true}}
	err := local.Load(ctx, peers.Prefix, func(key string, _ []byte) error {
		ops = append(ops, kv.Op{Key: strings.Clone(key), Delete: true})
		return nil
	})
	if err == nil {
		err = local.Commit(ctx, ops)
	}
	if err != nil {
		return fmt.Errorf("leave the cluster: %w", err)
	}
	return nil
}

// enter returns the cluster whose store this is, and makes it one where it is
// empty. mine is the cluster that this host is in, if any.
func enter(ctx context.Context, store kv.Shared, where string, mine clusterRecord) (clusterRecord, error) {
	value, err := readKey(ctx, store, clusterKey)
	if err != nil {
		return clusterRecord{}, err
	}
	if value == nil {
		if value, err = found(ctx, store, where, mine); err != nil {
			return clusterRecord{}, err
		}
	}
	return admit(value, where, mine)
}

// found makes a cluster of an empty store, and returns the record that is there
// then: another host may have been faster.
func found(ctx context.Context, store kv.Shared, where string, mine clusterRecord) ([]byte, error) {
	if mine.ID != "" {
		return nil, refuse("this host is in cluster %s, and %s has no cluster: if the etcd lost its data, restore its backup; "+
			"if it is another etcd or prefix, set DOCKSTACK_STORE to the right one; to begin a new cluster there with the names of this host, %s", mine.ID, where, wayOut)
	}
	other := ""
	stop := errors.New("stop")
	err := store.Load(ctx, "", func(key string, _ []byte) error {
		if other = key; key == clusterKey {
			other = "" // just made
		}
		return stop
	})
	if err != nil && !errors.Is(err, stop) {
		return nil, err
	}
	if other != "" {
		return nil, refuse("%s holds another program's keys, the first is %.64q: set a prefix of dockstack's own, as in DOCKSTACK_STORE=etcd://HOST:PORT/dockstack", where, other)
	}
	id := make([]byte, 8)
	_, _ = rand.Read(id) // it never fails
	value := clusterRecord{ID: hex.EncodeToString(id), Format: clusterFormat}.encode()
	err = store.Commit(ctx, []kv.Op{{Key: clusterKey, Value: value}}, kv.Cond{Key: clusterKey, Absent: true})
	if conflict := (*kv.Conflict)(nil); errors.As(err, &conflict) {
		return readKey(ctx, store, clusterKey)
	}
	return value, err
}

const wayOut = "set DOCKSTACK_STORE to nothing once, which makes this host one of its own with the names that ran here, and then set it again to join"

// admit checks the record that a shared store has.
func admit(value []byte, where string, mine clusterRecord) (clusterRecord, error) {
	there, err := decodeCluster(value)
	switch {
	case err != nil:
		return there, refuse("%s holds another program's keys: %s is there, but %w; set a prefix of dockstack's own", where, clusterKey, err)
	case there.Format > clusterFormat:
		return there, refuse("%s was written by a newer dockstack (format %d, this version knows %d): upgrade the plugin on this host", where, there.Format, clusterFormat)
	case mine.ID != "" && mine.ID != there.ID:
		return there, refuse("%s is cluster %s, and this host is in cluster %s: set DOCKSTACK_STORE to that one's etcd and prefix, or, to change over, %s", where, there.ID, mine.ID, wayOut)
	}
	return there, nil
}
