package boltkv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"

	bolt "go.etcd.io/bbolt"

	"github.com/dockstack/dockstack/internal/kv"
)

// formatVersion is what this code writes. A later format must keep the
// "format" record as it is, so that this code can tell.
const formatVersion = 1

// The buckets' names sort so that the version is read before any record.
var (
	bucketAbout   = []byte("dockstack")
	bucketRecords = []byte("records")

	keyFormat = []byte("format")
	keySum    = []byte("sum")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sealSize = 4

// seal puts a checksum of key and value in front of value.
func seal(key, value []byte) []byte {
	out := make([]byte, sealSize, sealSize+len(value))
	binary.LittleEndian.PutUint32(out, checksum(key, value))
	return append(out, value...)
}

func unseal(key, sealed []byte) ([]byte, error) {
	if len(sealed) < sealSize || binary.LittleEndian.Uint32(sealed) != checksum(key, sealed[sealSize:]) {
		return nil, fmt.Errorf("%w: record %.64q does not match its checksum", kv.ErrDamaged, key)
	}
	return sealed[sealSize:], nil
}

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Update(crc32.Checksum([]byte{byte(len(key))}, castagnoli), castagnoli, key), castagnoli, value)
}

// summary is the number of records and the sum of their hashes, whatever
// their order.
type summary struct{ count, sum uint64 }

func (s *summary) add(key, value []byte) {
	s.count++
	s.sum += hash(key, value)
}

func (s *summary) remove(key, value []byte) {
	s.count--
	s.sum -= hash(key, value)
}

func hash(key, value []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(key)
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(value)
	return h.Sum64()
}

func (s summary) encode() []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, s.count), s.sum)
}

func decodeSummary(b []byte) (summary, error) {
	if len(b) != 16 {
		return summary{}, fmt.Errorf("%w: the summary has %d bytes", kv.ErrDamaged, len(b))
	}
	return summary{count: binary.LittleEndian.Uint64(b), sum: binary.LittleEndian.Uint64(b[8:])}, nil
}

// create writes an empty store's records.
func create(t *bolt.Tx) error {
	about, err := t.CreateBucket(bucketAbout)
	if err != nil {
		return err
	}
	if _, err := t.CreateBucket(bucketRecords); err != nil {
		return err
	}
	version := binary.LittleEndian.AppendUint32(nil, formatVersion)
	if err := about.Put(keyFormat, seal(keyFormat, version)); err != nil {
		return err
	}
	return about.Put(keySum, seal(keySum, summary{}.encode()))
}

// edit is one transaction on the records, keeping the summary true.
type edit struct {
	about, records *bolt.Bucket
	sum            summary
	// changed: a write's conditions held.
	changed bool
}

func newEdit(t *bolt.Tx) (*edit, error) {
	e := &edit{about: t.Bucket(bucketAbout), records: t.Bucket(bucketRecords)}
	b, err := unseal(keySum, e.about.Get(keySum))
	if err != nil {
		return nil, err
	}
	e.sum, err = decodeSummary(b)
	return e, err
}

// write carries out one commit, where its conditions hold.
func (e *edit) write(w *write) error {
	var damaged error
	conflict := kv.Unmet(w.conds, func(name string) ([]byte, bool) {
		key := []byte(name)
		sealed := e.records.Get(key)
		if sealed == nil {
			return nil, false
		}
		value, err := unseal(key, sealed)
		if err != nil {
			damaged = err
		}
		return value, true
	})
	switch {
	case damaged != nil:
		return damaged
	case conflict != nil:
		w.err = conflict
		return nil //nolint:nilerr // the conflict is this commit's, not the transaction's
	}
	for _, op := range w.ops {
		if err := e.apply(op); err != nil {
			return err
		}
	}
	e.changed = e.changed || len(w.ops) > 0
	return nil
}

func (e *edit) apply(op kv.Op) error {
	key := []byte(op.Key)
	if old := e.records.Get(key); old != nil {
		value, err := unseal(key, old)
		if err != nil {
			return err
		}
		e.sum.remove(key, value)
	} else if op.Delete {
		return nil
	}
	if op.Delete {
		return e.records.Delete(key)
	}
	e.sum.add(key, op.Value)
	return e.records.Put(key, seal(key, op.Value))
}

func (e *edit) finish() error { return e.about.Put(keySum, seal(keySum, e.sum.encode())) }

// check reads the records of a file as walk meets them.
type check struct {
	formatted bool
	want      *summary
	got       summary
}

func (c *check) record(bucket string, key, sealed []byte) error {
	value, err := unseal(key, sealed)
	if err != nil {
		return err
	}
	switch {
	case bucket == string(bucketAbout) && bytes.Equal(key, keyFormat) && len(value) >= 4:
		c.formatted = true
		if v := binary.LittleEndian.Uint32(value); v > formatVersion {
			return fmt.Errorf("%w: its format is %d, this dockstack knows %d", kv.ErrNewer, v, formatVersion)
		}
	case bucket == string(bucketAbout) && bytes.Equal(key, keySum) && c.formatted:
		sum, err := decodeSummary(value)
		if err != nil {
			return err
		}
		c.want = &sum
	case bucket == string(bucketRecords) && c.formatted:
		c.got.add(key, value)
	default:
		return fmt.Errorf("%w: %.64q in bucket %.64q is none of dockstack's", kv.ErrDamaged, key, bucket)
	}
	return nil
}

func (c *check) finish() error {
	switch {
	case !c.formatted || c.want == nil:
		return fmt.Errorf("%w: it was not written by dockstack", kv.ErrDamaged)
	case c.got != *c.want:
		return fmt.Errorf("%w: it has %d records, and should have %d others", kv.ErrDamaged, c.got.count, c.want.count)
	}
	return nil
}
