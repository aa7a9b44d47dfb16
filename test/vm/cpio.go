package vm

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Image is an initramfs in the making: the kernel unpacks several archives, one
// behind the other, so it need not be complete.
type Image struct {
	w     *bufio.Writer
	f     *os.File
	made  map[string]bool
	inode int
	size  int64
	err   error
}

// NewImage begins an initramfs in file. It isn't compressed: unpacking would
// take an emulated machine longer than reading.
func NewImage(file string) (*Image, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	return &Image{w: bufio.NewWriterSize(f, 1<<20), f: f, made: map[string]bool{".": true}}, nil
}

// Close ends the archive and returns what went wrong while it was written.
func (i *Image) Close() error {
	i.entry("TRAILER!!!", 0, 0, nil)
	return errors.Join(i.err, i.w.Flush(), i.f.Close())
}

// Write adds a file with content.
func (i *Image) Write(name string, mode fs.FileMode, content []byte) {
	i.parents(name)
	i.entry(clean(name), 0o100000|uint32(mode.Perm()), int64(len(content)), strings.NewReader(string(content)))
}

// Copy adds the file from; where it is a link, what it leads to.
func (i *Image) Copy(name, from string) {
	f, err := os.Open(from)
	if err != nil {
		i.fail(err)
		return
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		i.fail(err)
		return
	}
	if i.made[clean(name)] {
		return
	}
	i.made[clean(name)] = true
	i.parents(name)
	i.entry(clean(name), 0o100000|uint32(info.Mode().Perm()), info.Size(), f)
}

// CopyTree adds a folder with all below it.
func (i *Image) CopyTree(name, from string) {
	i.fail(filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, p)
		i.Copy(path.Join(name, rel), p)
		return err
	}))
}

// Link adds a symbolic link.
func (i *Image) Link(name, to string) {
	i.parents(name)
	i.entry(clean(name), 0o120777, int64(len(to)), strings.NewReader(to))
}

// Mkdir adds a folder.
func (i *Image) Mkdir(name string) { i.parents(path.Join(name, "x")) }

// Program adds a program with the libraries it needs, taken from below root and
// put below at, at the places where they are there.
func (i *Image) Program(at, root, file string) {
	i.Copy(path.Join(at, file), filepath.Join(root, file))
	f, err := elf.Open(filepath.Join(root, file))
	if err != nil {
		return // a script
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b, err := io.ReadAll(p.Open())
			i.fail(err)
			interp := strings.TrimRight(string(b), "\x00")
			i.library(at, root, interp)
		}
	}
	libs, err := f.ImportedLibraries()
	i.fail(err)
	for _, lib := range libs {
		i.find(at, root, lib)
	}
}

// libraryDirs is where Debian has libraries.
var libraryDirs = []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib", "/lib"}

func (i *Image) find(at, root, lib string) {
	for _, dir := range libraryDirs {
		if exists(filepath.Join(root, dir, lib)) {
			i.library(at, root, path.Join(dir, lib))
			return
		}
	}
	i.fail(fmt.Errorf("no library %s below %s", lib, root))
}

func (i *Image) library(at, root, file string) {
	if i.made[clean(path.Join(at, file))] {
		return
	}
	i.Program(at, root, file)
}

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

func (i *Image) parents(name string) {
	dir := path.Dir(clean(name))
	if i.made[dir] {
		return
	}
	i.parents(dir)
	i.made[dir] = true
	i.entry(dir, 0o040755, 0, nil)
}

// entry writes one entry in the format "newc": a header of hexadecimal numbers,
// the name and the content, each padded to four bytes.
func (i *Image) entry(name string, mode uint32, size int64, content io.Reader) {
	if i.err != nil {
		return
	}
	i.inode++
	n, err := fmt.Fprintf(i.w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		i.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	i.fail(err)
	i.size += int64(n)
	i.pad()
	if content == nil {
		return
	}
	m, err := io.Copy(i.w, content)
	i.fail(err)
	if m != size {
		i.fail(fmt.Errorf("%s: %d bytes instead of %d", name, m, size))
	}
	i.size += m
	i.pad()
}

func (i *Image) pad() {
	for ; i.size%4 != 0; i.size++ {
		i.fail(i.w.WriteByte(0))
	}
}

func (i *Image) fail(err error) {
	if i.err == nil {
		i.err = err
	}
}
