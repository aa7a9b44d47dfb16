package admin

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
	"unicode/utf8"
)

// A backup is lines of JSON: one that says what it is, one for each record of the
// store, and one that ends it, with how many there were and the SHA-256 of all
// that stands before it. So a person can read it, and what was cut off or changed
// is found before anything is put back.

// backupFormat is the format's version. One that says more has another.
const backupFormat = 1

// maxBackupLine bounds a line: a record is 1 MB at most.
const maxBackupLine = 8 << 20

// BackupInfo is what a backup says of itself.
type BackupInfo struct {
	// Format is the file's, and Version that of the dockstack that made it.
	Format  int    `json:"dockstack_backup"`
	Version string `json:"version"`
	// Made is when, and Host where.
	Made time.Time `json:"made"`
	Host string    `json:"host,omitempty"`
}

// BackupEntry is one record of the store.
type BackupEntry struct {
	Key   string
	Value []byte
}

// backupLine is a BackupEntry in the file: Text where the value is text.
type backupLine struct {
	Key    string  `json:"key"`
	Text   *string `json:"text,omitempty"`
	Binary []byte  `json:"base64,omitempty"`
}

// backupEnd is the last line.
type backupEnd struct {
	Records *int   `json:"records"`
	SHA256  string `json:"sha256"`
}

// WriteBackup writes a backup.
func WriteBackup(to io.Writer, info BackupInfo, entries []BackupEntry) error {
	info.Format = backupFormat
	out := bufio.NewWriter(to)
	sum := sha256.New()
	enc := json.NewEncoder(io.MultiWriter(out, sum))
	enc.SetEscapeHTML(false)
	if err := enc.Encode(info); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	for _, e := range entries {
		if !utf8.ValidString(e.Key) {
			return fmt.Errorf("write the backup: key %q is no text", e.Key)
		}
		line := backupLine{Key: e.Key, Binary: e.Value}
		if utf8.Valid(e.Value) {
			text := string(e.Value)
			line = backupLine{Key: e.Key, Text: &text}
		}
		if err := enc.Encode(line); err != nil {
			return fmt.Errorf("write the backup: %w", err)
		}
	}
	n := len(entries)
	err := json.NewEncoder(out).Encode(backupEnd{&n, hex.EncodeToString(sum.Sum(nil))})
	if err := errors.Join(err, out.Flush()); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	return nil
}

// badBackup is the error of what is no backup, or not a whole one.
func badBackup(format string, args ...any) error {
	return Errorf(CodeUsage, format+"; nothing was changed", args...)
}

// ReadBackup reads a backup, and all of it: what it returns is just what
// WriteBackup got.
func ReadBackup(from io.Reader) (BackupInfo, []BackupEntry, error) {
	r := &backupReader{in: bufio.NewReaderSize(from, 64<<10), sum: sha256.New()}
	first, err := r.line()
	var info BackupInfo
	if errors.Is(err, io.EOF) {
		return info, nil, badBackup("that is no backup of dockstack: it is empty")
	}
	if err != nil {
		return info, nil, err
	}
	switch err := json.Unmarshal(first, &info); {
	case err != nil || info.Format == 0:
		return info, nil, badBackup("that is no backup of dockstack: its first line lacks `\"dockstack_backup\":%d`", backupFormat)
	case info.Format > backupFormat:
		return info, nil, badBackup("the backup was made by dockstack %s, in a format (%d) that is newer than this dockstack; install that version, or a newer one", Plain(info.Version), info.Format)
	}
	var entries []BackupEntry
	for {
		before := r.digest()
		line, err := r.line()
		if errors.Is(err, io.EOF) {
			return info, nil, badBackup("the backup is cut off after line %d: its end, which has its checksum, is missing", r.n)
		}
		if err != nil {
			return info, nil, err
		}
		if entry, ok := backupRecord(line); ok {
			entries = append(entries, entry)
			continue
		}
		var end backupEnd
		if err := strict(line, &end); err != nil || end.Records == nil {
			return info, nil, badBackup("line %d of the backup can't be read: it is neither a record nor its end", r.n)
		}
		if end.SHA256 != before {
			return info, nil, badBackup("the backup is damaged: its checksum is not that of its content; take another one")
		}
		if *end.Records != len(entries) {
			return info, nil, badBackup("the backup is damaged: it has %d records and says %d; take another one", len(entries), *end.Records)
		}
		if _, err := r.line(); !errors.Is(err, io.EOF) {
			return info, nil, badBackup("the backup goes on after its end, in line %d; take another one", r.n)
		}
		return info, entries, nil
	}
}

func backupRecord(line []byte) (BackupEntry, bool) {
	var l backupLine
	if err := strict(line, &l); err != nil || l.Key == "" || l.Text != nil && l.Binary != nil {
		return BackupEntry{}, false
	}
	if l.Text != nil {
		return BackupEntry{l.Key, []byte(*l.Text)}, true
	}
	return BackupEntry{l.Key, l.Binary}, true
}

// strict reads one value with fields that are known.
func strict(line []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// backupReader reads lines and sums them up.
type backupReader struct {
	in  *bufio.Reader
	sum hash.Hash
	n   int
}

// digest is the sum of the lines until now.
func (r *backupReader) digest() string { return hex.EncodeToString(r.sum.Sum(nil)) }

// line is the next one, valid until the one after it; io.EOF where there is none.
func (r *backupReader) line() ([]byte, error) {
	var out []byte
	for {
		part, err := r.in.ReadSlice('\n')
		out = append(out, part...)
		switch {
		case len(out) > maxBackupLine:
			return nil, badBackup("line %d of the backup is longer than %d bytes", r.n+1, maxBackupLine)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(out) == 0:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("read the backup: %w", err)
		}
		r.n++
		_, _ = r.sum.Write(out) // a hash takes all
		return out, nil
	}
}
