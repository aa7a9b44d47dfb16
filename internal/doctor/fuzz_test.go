package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What stands in the host's files may be anything; what is made of it must be
// something that a shell can read.
func FuzzHostFiles(f *testing.F) {
	f.Add("nameserver 9.9.9.9\nnameserver 127.0.0.1\n", `{"dns":["127.0.0.1"]}`, "ID=debian")
	f.Add("nameserver ::1%eth0#x\n", `{"dns":"x","iptables":false}`, "ID='a\nb'")
	f.Add("", "{", "")
	f.Fuzz(func(t *testing.T, resolv, daemon, release string) {
		x := &exam{Host: Host{Root: t.TempDir(), Zone: "dockstack"}}
		for path, text := range map[string]string{resolvConf: resolv, daemonJSON: daemon, "/etc/os-release": release} {
			path = x.path(path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = x.wiring()
		_ = x.engineSettings(t.Context())
		if c := upgradeEngine(readOS(x.path("/etc/os-release"))); !strings.Contains(c, "docker") {
			t.Errorf("%q", c)
		}
	})
}

// A name is one word for a shell, whatever it is.
func FuzzQuote(f *testing.F) {
	for _, text := range []string{"web", "my net", "it's", "$(reboot)", "`x`", "", "a\nb", "-f"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if back, words := shellWord(quote(text)); back != text || !words {
			t.Errorf("%q became %s, which is %q", text, quote(text), back)
		}
	})
}

// shellWord reads one word as a shell does: quotes keep what is in them, and a
// backslash before one makes it stand for itself. ok is false where there is
// anything else that a shell would look at.
func shellWord(text string) (word string, ok bool) {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\'':
			quoted = !quoted
		case c == '\\' && !quoted && i+1 < len(text) && text[i+1] == '\'':
			i++
			b.WriteByte('\'')
		case !quoted && strings.IndexByte(" \t\n$`\"\\;&|<>()*?[]{}~#!", c) >= 0:
			return b.String(), false
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), !quoted
}

func FuzzLock(f *testing.F) {
	f.Add("1: FLOCK  ADVISORY  WRITE 1234 fd:01:5 0 EOF")
	f.Fuzz(func(t *testing.T, line string) {
		if pid, ok := parseLock(line, 5); ok && pid <= 0 {
			t.Errorf("%q: %d", line, pid)
		}
	})
}
