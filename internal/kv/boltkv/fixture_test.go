package boltkv_test

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// foreignBolt is a healthy bbolt file that another program wrote.
func foreignBolt(t *testing.T) []byte {
	t.Helper()
	return boltFile(t, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("v2"))
		if err != nil {
			return err
		}
		return b.Put([]byte("docker/network"), []byte(`{}`))
	})
}

// newerStore is a store as a later version might write it: its format record
// is as it always was, the rest is not.
func newerStore(t *testing.T) []byte {
	t.Helper()
	return boltFile(t, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("dockstack"))
		if err != nil {
			return err
		}
		value := binary.LittleEndian.AppendUint32(nil, 2)
		sum := crc32.Checksum(append([]byte("\x06format"), value...), crc32.MakeTable(crc32.Castagnoli))
		if err := b.Put([]byte("format"), append(binary.LittleEndian.AppendUint32(nil, sum), value...)); err != nil {
			return err
		}
		b, err = tx.CreateBucket([]byte("leases, but better"))
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), []byte("v"))
	})
}

func boltFile(t *testing.T, fill func(*bolt.Tx) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "made.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(fill); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
