package boltkv

import (
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// muchRead is how many bytes a Load must have read for giveBack to be worth it.
const muchRead = 1 << 20

// giveBack lets the kernel drop the pages of the file's mapping, after read
// bytes were. A store is read whole once, at the start, and the pages would
// count as the process' memory from then on. It is called within t, which
// keeps bbolt from mapping the file elsewhere meanwhile.
func giveBack(t *bolt.Tx, read int) {
	data, size := t.DB().Info().Data, t.Size()
	if read < muchRead || data == 0 || size <= 0 {
		return
	}
	// Not ours, but bbolt's: read only, shared with the file, and read again
	// from there when needed. An error costs memory only.
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, data, uintptr(size), unix.MADV_DONTNEED)
}
