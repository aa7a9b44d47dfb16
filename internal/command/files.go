package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/nearest"
)

// maxInput bounds files that are read whole, and come to less as an import.
const maxInput = 64 << 20

// readInput reads a file, or standard input for "-". Pipes and terminals may have
// nothing for a long time; an interrupt ends the wait.
func (a *app) readInput(ctx context.Context, path string, limit int64) ([]byte, error) {
	type input struct {
		data []byte
		err  error
	}
	got := make(chan input, 1)
	go func() {
		data, err := a.readAll(path, limit)
		got <- input{data, err}
	}()
	select {
	case in := <-got:
		return in.data, in.err
	case <-ctx.Done():
		return nil, fmt.Errorf("read %s: %w", path, ctx.Err())
	}
}

func (a *app) readAll(path string, limit int64) ([]byte, error) {
	if path == "-" {
		data, err := io.ReadAll(io.LimitReader(a.In, limit+1))
		return data, within("standard input", int64(len(data)), limit, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, noFile(path, err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > limit {
		return nil, within(path, info.Size(), limit, nil)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, noFile(path, err)
	}
	return data, within(path, int64(len(data)), limit, nil)
}

func within(what string, size, limit int64, err error) error {
	if err == nil && size > limit {
		err = fmt.Errorf("%s is larger than %d MB, the most that is taken in", what, limit>>20)
	}
	return err
}

// noFile is the error of a file that can't be read, with the one that was meant.
func noFile(path string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var near []string
	found, _ := os.ReadDir(filepath.Dir(path)) // without it there is no hint
	for _, f := range found {
		near = append(near, filepath.Join(filepath.Dir(path), f.Name()))
	}
	return admin.Errorf(admin.CodeNotFound, "no file `%s`%s", path, nearest.Hint(filepath.Clean(path), near))
}

// writeFile puts a file in place whole or not at all, for its owner alone where
// secret. It replaces one that is there.
func writeFile(path string, mode os.FileMode, fill func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // of mode 0600
	if named, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("directory %s: %w", filepath.Dir(path), named.Err) // it has the name of the file before it is whole
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err = fill(f); err != nil {
		return err
	}
	if err = f.Chmod(mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("write to %s: %w", path, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("write to %s: %w", path, err)
	}
	return nil
}

// putOut writes an answer to a file, or to standard output for "" and "-".
func (a *app) putOut(path string, data []byte) error {
	if path == "" || path == "-" {
		_, err := io.Copy(a.Out, bytes.NewReader(data))
		return err
	}
	return writeFile(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func number(n int) cell { return cell{text: strconv.Itoa(n)} }

// plural is "1 name" and "2 names".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
