package boltkv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"

	"github.com/dockstack/dockstack/internal/kv"
)

// This file reads bbolt's file format by itself, with a bound on every
// access, because bbolt trusts what it maps: a wrong number in a page makes it
// read past the file's end, which is a signal that kills the process, partly
// in goroutines of its own where nobody can recover. A file that passed here
// holds exactly what was committed, so bbolt may map it.
//
// The format (bbolt's internal/common): pages of pageSize bytes in the
// machine's byte order. Pages 0 and 1 are metas, of which the one with the
// higher transaction counts; a bucket is a tree of branch and leaf pages; the
// freelist names the pages that nothing uses.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader  = 16
	branchEntry = 16
	leafEntry   = 16
	bucketSize  = 16
	metaSize    = 64

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10

	flagBucket = 0x01

	// maxDepth is far above what a tree of 2^48 pages needs.
	maxDepth = 32
	// maxPageSize is what bbolt tries at most.
	maxPageSize = 16 << 20
)

var order = binary.NativeEndian

// errPages wraps every finding about the file's structure.
var errPages = errors.New("page structure")

type meta struct {
	pageSize            uint32
	root, freelist, end uint64
	txid                uint64
}

// walker goes through every page of a file once.
type walker struct {
	file io.ReaderAt
	size int64
	meta meta
	// seen has a bit for each page below meta.end.
	seen []uint64
	// rootBufs are the pages on the way down the root bucket, bufs those on
	// the way down one of the buckets in it, a page a level.
	rootBufs, bufs [maxDepth][]byte
	// record is called for each key of each bucket, in order. bucket is ""
	// for the root, whose values are buckets.
	record func(bucket string, key, value []byte) error
}

// walk checks the file's structure and calls record for every key outside
// the root bucket.
func walk(file io.ReaderAt, size int64, record func(bucket string, key, value []byte) error) error {
	w := &walker{file: file, size: size, record: record}
	if err := w.readMetas(); err != nil {
		return err
	}
	if int64(w.meta.end) > size/int64(w.meta.pageSize) {
		return fmt.Errorf("%w: it ends after %d bytes, its pages need %d", errPages, size, int64(w.meta.end)*int64(w.meta.pageSize))
	}
	w.seen = make([]uint64, w.meta.end/64+1)
	if err := w.claim(0, 2); err != nil {
		return err
	}
	if err := w.tree("", w.meta.root); err != nil {
		return err
	}
	if err := w.free(); err != nil {
		return err
	}
	for id := range w.meta.end {
		if w.seen[id/64]&(1<<(id%64)) == 0 {
			return fmt.Errorf("%w: page %d is neither used nor free", errPages, id)
		}
	}
	return nil
}

// readMetas finds the meta that counts. Both must be whole: bbolt writes one
// at a time, within one disk sector, so no crash leaves one in pieces; going
// back to the older one would silently lose a commit that was reported.
func (w *walker) readMetas() error {
	first, err := w.readMeta(0, 0)
	if err != nil {
		return err
	}
	second, err := w.readMeta(1, first.pageSize)
	if err != nil {
		return err
	}
	if first.pageSize != second.pageSize || first.txid%2 != 0 || second.txid != first.txid+1 && first.txid != second.txid+1 {
		return fmt.Errorf("%w: the two file headers contradict each other", errPages)
	}
	w.meta = first
	if second.txid > first.txid {
		w.meta = second
	}
	return nil
}

func (w *walker) readMeta(id uint64, pageSize uint32) (meta, error) {
	buf := make([]byte, pageHeader+metaSize)
	if _, err := w.file.ReadAt(buf, int64(id)*int64(pageSize)); err != nil {
		return meta{}, fmt.Errorf("%w: file header %d: %w", errPages, id, noEOF(err))
	}
	b := buf[pageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	switch {
	case order.Uint32(b) != boltMagic:
		return meta{}, fmt.Errorf("%w: file header %d is not one of bbolt's", errPages, id)
	case order.Uint64(b[56:]) != sum.Sum64():
		return meta{}, fmt.Errorf("%w: file header %d does not match its checksum", errPages, id)
	case order.Uint32(b[4:]) > boltVersion:
		return meta{}, fmt.Errorf("%w: bbolt format %d, this one knows %d", kv.ErrNewer, order.Uint32(b[4:]), boltVersion)
	case order.Uint64(buf) != id || order.Uint16(buf[8:]) != flagMeta:
		return meta{}, fmt.Errorf("%w: file header %d is not where it belongs", errPages, id)
	}
	m := meta{
		pageSize: order.Uint32(b[8:]), root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]),
		end: order.Uint64(b[40:]), txid: order.Uint64(b[48:]),
	}
	if m.pageSize < 1024 || m.pageSize > maxPageSize || m.pageSize&(m.pageSize-1) != 0 || m.end < 4 || m.end > 1<<40 {
		return meta{}, fmt.Errorf("%w: file header %d names impossible sizes", errPages, id)
	}
	return m, nil
}

// page is one page with its overflow.
type page struct {
	id       uint64
	flags    uint16
	count    int
	overflow uint64
	data     []byte
}

// read reads page id into *buf and claims it.
func (w *walker) read(id uint64, buf *[]byte) (page, error) {
	size := int64(w.meta.pageSize)
	if id < 2 || id >= w.meta.end {
		return page{}, fmt.Errorf("%w: a reference to page %d of %d", errPages, id, w.meta.end)
	}
	if int64(len(*buf)) < size {
		*buf = make([]byte, size)
	}
	if _, err := w.file.ReadAt((*buf)[:size], int64(id)*size); err != nil {
		return page{}, fmt.Errorf("%w: page %d: %w", errPages, id, noEOF(err))
	}
	p := page{id: id, flags: order.Uint16((*buf)[8:]), count: int(order.Uint16((*buf)[10:])), overflow: uint64(order.Uint32((*buf)[12:]))}
	if got := order.Uint64(*buf); got != id {
		return page{}, fmt.Errorf("%w: page %d calls itself %d", errPages, id, got)
	}
	if err := w.claim(id, p.overflow+1); err != nil {
		return page{}, err
	}
	size *= int64(p.overflow) + 1
	if int64(len(*buf)) < size {
		*buf = make([]byte, size)
	}
	if _, err := w.file.ReadAt((*buf)[:size], int64(id)*int64(w.meta.pageSize)); err != nil {
		return page{}, fmt.Errorf("%w: page %d: %w", errPages, id, noEOF(err))
	}
	p.data = (*buf)[:size]
	return p, nil
}

// claim marks n pages from id as used. No page may be used twice.
func (w *walker) claim(id, n uint64) error {
	if id >= w.meta.end || n > w.meta.end-id {
		return fmt.Errorf("%w: page %d goes on for %d pages, the file has %d", errPages, id, n, w.meta.end)
	}
	for i := id; i < id+n; i++ {
		if w.seen[i/64]&(1<<(i%64)) != 0 {
			return fmt.Errorf("%w: page %d is used twice", errPages, i)
		}
		w.seen[i/64] |= 1 << (i % 64)
	}
	return nil
}

// free reads the freelist.
func (w *walker) free() error {
	var buf []byte
	p, err := w.read(w.meta.freelist, &buf)
	if err != nil {
		return err
	}
	if p.flags != flagFreelist {
		return fmt.Errorf("%w: page %d is not the list of free pages", errPages, p.id)
	}
	at, count := pageHeader, uint64(p.count)
	if count == 0xFFFF {
		count = order.Uint64(p.data[at:])
		at += 8
	}
	if count > uint64(len(p.data)-at)/8 {
		return fmt.Errorf("%w: the list of free pages is too long for its page", errPages)
	}
	for ; count > 0; count, at = count-1, at+8 {
		id := order.Uint64(p.data[at:])
		if id < 2 {
			return fmt.Errorf("%w: file header %d is in the list of free pages", errPages, id)
		}
		if err := w.claim(id, 1); err != nil {
			return err
		}
	}
	return nil
}

// noEOF keeps the end of a file from looking like the end of a walk.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
