package kvtest_test

import (
	"errors"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kvtest.Opener {
		m := kvtest.NewMemory()
		return func() (kv.Store, error) { return m.Reopen(), nil }
	})
}

func TestHostsKeepTheContract(t *testing.T) {
	kvtest.RunShared(t, func(*testing.T) kvtest.Joiner {
		m := kvtest.NewMemory()
		return func() (kv.Shared, error) { return m.Join(), nil }
	})
	kvtest.Run(t, func(*testing.T) kvtest.Opener {
		h := kvtest.NewMemory().Join()
		return func() (kv.Store, error) { return h.Reopen(), nil }
	})
}

func TestMemoryFailsOnDemand(t *testing.T) {
	m := kvtest.NewMemory()
	refused, lost := errors.New("refused"), errors.New("lost")
	m.FailNext(refused)
	m.LoseNext(lost)
	for i, want := range []error{refused, lost, nil} {
		if err := m.Commit(t.Context(), []kv.Op{{Key: string(rune('1' + i))}}); !errors.Is(err, want) {
			t.Errorf("commit %d: got %v, want %v", i+1, err, want)
		}
	}
	d := m.Data()
	_, second := d["2"]
	_, third := d["3"]
	if len(d) != 2 || !second || !third || m.Commits() != 1 {
		t.Errorf("content %v after %d commits, want keys 2 and 3 after 1", d, m.Commits())
	}
}
