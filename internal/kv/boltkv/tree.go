package boltkv

import (
	"bytes"
	"fmt"
)

// node is a page, or a bucket small enough to live in its parent's value.
type node struct {
	id    uint64
	count int
	data  []byte
}

// bounds are the keys between which a subtree must stay: low <= key < high,
// high nil for no bound.
type bounds struct{ low, high []byte }

// tree walks one bucket from its root page.
func (w *walker) tree(bucket string, root uint64) error {
	return w.subtree(bucket, root, 0, bounds{})
}

func (w *walker) subtree(bucket string, id uint64, depth int, b bounds) error {
	if depth >= maxDepth {
		return fmt.Errorf("%w: page %d is %d levels down", errPages, id, depth)
	}
	// A bucket hangs below the root bucket's pages, which stay in use.
	bufs := &w.rootBufs
	if bucket != "" {
		bufs = &w.bufs
	}
	p, err := w.read(id, &bufs[depth])
	if err != nil {
		return err
	}
	n := node{id: id, count: p.count, data: p.data}
	switch p.flags {
	case flagBranch:
		return w.branch(bucket, n, depth, b)
	case flagLeaf:
		return w.leaf(bucket, n, b)
	default:
		return fmt.Errorf("%w: page %d is of kind %#x in a tree", errPages, id, p.flags)
	}
}

// branch walks the children of a branch page.
func (w *walker) branch(bucket string, n node, depth int, b bounds) error {
	if n.count == 0 || pageHeader+n.count*branchEntry > len(n.data) {
		return fmt.Errorf("%w: page %d can't have %d entries", errPages, n.id, n.count)
	}
	key := func(i int) ([]byte, error) {
		at := pageHeader + i*branchEntry
		return n.slice(at+int(order.Uint32(n.data[at:])), int(order.Uint32(n.data[at+4:])))
	}
	for i := range n.count {
		low, err := key(i)
		if err != nil {
			return err
		}
		if err := n.inOrder(i, low, b); err != nil {
			return err
		}
		child := bounds{low: low, high: b.high}
		if i+1 < n.count {
			if child.high, err = key(i + 1); err != nil {
				return err
			}
		}
		b.low = low
		if err := w.subtree(bucket, order.Uint64(n.data[pageHeader+i*branchEntry+8:]), depth+1, child); err != nil {
			return err
		}
	}
	return nil
}

// leaf hands out the records of a leaf page, or goes into the buckets there.
func (w *walker) leaf(bucket string, n node, b bounds) error {
	if pageHeader+n.count*leafEntry > len(n.data) {
		return fmt.Errorf("%w: page %d can't have %d entries", errPages, n.id, n.count)
	}
	for i := range n.count {
		at := pageHeader + i*leafEntry
		flags, pos := order.Uint32(n.data[at:]), int(order.Uint32(n.data[at+4:]))
		keySize, valueSize := int(order.Uint32(n.data[at+8:])), int(order.Uint32(n.data[at+12:]))
		key, err := n.slice(at+pos, keySize)
		if err != nil {
			return err
		}
		value, err := n.slice(at+pos+keySize, valueSize)
		if err != nil {
			return err
		}
		if err := n.inOrder(i, key, b); err != nil {
			return err
		}
		b.low = key
		switch {
		case flags == flagBucket && bucket == "" && len(key) > 0:
			err = w.bucket(string(key), n, value)
		case flags == 0 && bucket != "":
			err = w.record(bucket, key, value)
		default:
			err = fmt.Errorf("%w: page %d, entry %d is of kind %#x", errPages, n.id, i, flags)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket walks a bucket: from its root page, or in the value itself.
func (w *walker) bucket(name string, in node, value []byte) error {
	if len(value) < bucketSize {
		return fmt.Errorf("%w: bucket %q in page %d has no header", errPages, name, in.id)
	}
	if root := order.Uint64(value); root != 0 {
		return w.tree(name, root)
	}
	inline := value[bucketSize:]
	if len(inline) < pageHeader || order.Uint16(inline[8:]) != flagLeaf || order.Uint32(inline[12:]) != 0 {
		return fmt.Errorf("%w: bucket %q in page %d is no leaf", errPages, name, in.id)
	}
	return w.leaf(name, node{id: in.id, count: int(order.Uint16(inline[10:])), data: inline}, bounds{})
}

// slice is part of the page, never the entries' table or what is outside.
func (n *node) slice(at, size int) ([]byte, error) {
	if at < pageHeader || size < 0 || at > len(n.data) || size > len(n.data)-at {
		return nil, fmt.Errorf("%w: page %d points outside itself", errPages, n.id)
	}
	return n.data[at : at+size : at+size], nil
}

func (n *node) inOrder(i int, key []byte, b bounds) error {
	if i == 0 && bytes.Compare(key, b.low) < 0 || i > 0 && bytes.Compare(key, b.low) <= 0 ||
		b.high != nil && bytes.Compare(key, b.high) >= 0 {
		return fmt.Errorf("%w: page %d has its keys out of order at entry %d", errPages, n.id, i)
	}
	return nil
}
