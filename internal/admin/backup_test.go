package admin_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/admin/admintest"
)

var entries = []admin.BackupEntry{
	{Key: "pool/172.16.0.0/16", Value: []byte(`{"subnet":"172.16.0.0/16"}`)},
	{Key: "lease/172.16.0.0/16/web", Value: []byte{1, 0xff, 0, 0x80}},
	{Key: "lease/empty", Value: []byte{}},
	{Key: "record/<&>é", Value: []byte("a\nb\u2028<&>")},
	{Key: "lease/long", Value: bytes.Repeat([]byte{0xfe, 7}, 100_000)},
}

func backup(t *testing.T, all []admin.BackupEntry) string {
	t.Helper()
	var b bytes.Buffer
	if err := admin.WriteBackup(&b, admin.BackupInfo{Version: "1.0", Made: admintest.At, Host: "node1"}, all); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBackupComesBack(t *testing.T) {
	for n := range len(entries) + 1 {
		text := backup(t, entries[:n])
		info, got, err := admin.ReadBackup(iotest.HalfReader(strings.NewReader(text)))
		if err != nil {
			t.Fatal(err)
		}
		if info.Version != "1.0" || info.Host != "node1" || !info.Made.Equal(admintest.At) {
			t.Errorf("it says %+v of itself", info)
		}
		if len(got) != n || n > 0 && !reflect.DeepEqual(got, entries[:n]) {
			t.Errorf("%d records come back as %d", n, len(got))
		}
	}
}

// A backup that was cut off anywhere, or in which a byte was changed, is refused.
func TestBackupThatIsDamaged(t *testing.T) {
	text := backup(t, entries[:4])
	for n := range len(text) {
		if _, _, err := admin.ReadBackup(strings.NewReader(text[:n])); err == nil && n < len(text)-1 {
			t.Fatalf("cut off after %d of %d bytes it is taken", n, len(text))
		}
		changed := []byte(text)
		changed[n] ^= 0x01
		if _, _, err := admin.ReadBackup(bytes.NewReader(changed)); err == nil {
			t.Fatalf("with byte %d changed, %q to %q, it is taken", n, text[n], changed[n])
		}
	}
	lines := strings.SplitAfter(text, "\n")
	for name, tt := range map[string]struct{ text, want string }{
		"empty":            {"", "it is empty"},
		"something else":   {"names:\n- a\n", "no backup of dockstack"},
		"JSON":             {"{}\n", "no backup of dockstack"},
		"newer":            {strings.Replace(text, `"dockstack_backup":1`, `"dockstack_backup":2`, 1), "newer than this dockstack"},
		"without a record": {lines[0] + lines[1] + lines[3] + lines[4] + lines[5], "checksum"},
		"in another order": {lines[0] + lines[2] + lines[1] + lines[3] + lines[4] + lines[5], "checksum"},
		"cut off":          {lines[0] + lines[1], "cut off after line 2"},
		"twice":            {text + text, "goes on after its end"},
		"long line":        {lines[0] + strings.Repeat("x", 9<<20), "longer than"},
	} {
		if _, _, err := admin.ReadBackup(strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) || admin.CodeOf(err) != admin.CodeUsage {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	broken := errors.New("broken pipe")
	if _, _, err := admin.ReadBackup(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("a read error is %v", err)
	}
	if err := admin.WriteBackup(&bytes.Buffer{}, admin.BackupInfo{}, []admin.BackupEntry{{Key: "\xff"}}); err == nil {
		t.Error("a key that would change is written")
	}
}

// What is taken at all is just what would be written.
func FuzzReadBackup(f *testing.F) {
	var b bytes.Buffer
	_ = admin.WriteBackup(&b, admin.BackupInfo{Version: "1.0"}, entries[:3])
	f.Add(b.Bytes())
	f.Add([]byte(`{"dockstack_backup":1}` + "\n" + `{"records":0,"sha256":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, got, err := admin.ReadBackup(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := admin.WriteBackup(&again, info, got); err != nil {
			t.Fatal(err)
		}
		if _, back, err := admin.ReadBackup(&again); err != nil || len(back) != len(got) {
			t.Errorf("%d records come back as %d, %v", len(got), len(back), err)
		}
	})
}
