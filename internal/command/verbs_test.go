package command

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/dockstack/dockstack/internal/admin"
)

// Every reading verb has JSON.
func TestJSON(t *testing.T) {
	w := newWorld(t)
	w.does("record", "add", "gw", "A", "172.16.0.1")
	hosts := w.file("hosts", "172.16.0.9 x1\n")
	good := w.file("backup", backupText(t))
	for _, args := range []string{
		"ls", "status", "doctor", "dns rabbitmq1", "record ls", "host ls", "version", "import --dry-run " + hosts, "restore --dry-run " + good,
		"reserve web 172.16.0.50", "record add a A 1.2.3.4", "record rm a",
	} {
		got := w.does(append(strings.Fields(args), "--json")...)
		var value any
		if err := json.Unmarshal([]byte(got), &value); err != nil || value == nil {
			t.Errorf("%s --json prints %q: %v", args, got, err)
		}
		if strings.Contains(got, ": null") {
			t.Errorf("%s --json has a null: %s", args, got)
		}
	}
	w.fails(ExitClash, "1 clash", "import", "--json", w.file("hosts", "172.16.0.31 other\n"))
}

func TestStatus(t *testing.T) {
	w := newWorld(t)
	w.StatusNow.Switch.Up = true
	golden(t, "status", w.does("status"))
	w.does("status", "--check")
	w.StatusNow.Problems = []string{"clocks differ\x1b[2J"}
	if got := w.runs("status", "--check"); got.code != ExitFailed || !strings.Contains(got.out, `- clocks differ\x1b[2J`) || got.err != "" {
		t.Errorf("with a problem: %+v", got)
	}
	w.columns = 80
	if got := w.does("status"); !strings.Contains(got, "\x1b[33mproblems   - clocks differ") {
		t.Errorf("on a terminal: %q", got)
	}
}

func TestDoctor(t *testing.T) {
	w := newWorld(t)
	w.Found.Findings = []admin.Finding{
		{ID: "stale-port", Severity: admin.SeverityWarning, What: "port ds1 is stale", Why: "it is nobody's", Command: "ovs-vsctl del-port ds1", Fix: true},
		{ID: "not-looked-at", Severity: admin.SeverityNote, Subject: "mtu", What: "could not look for mtu: no engine"},
		{ID: "not-looked-at", Severity: admin.SeverityNote, Subject: "ports", What: "could not look for ports: no engine"},
		{ID: "dns", Severity: admin.SeverityOK, What: "DNS is wired in"},
	}
	golden(t, "doctor", w.does("doctor"))
	golden(t, "doctor-fix", w.does("doctor", "--fix", "--all"))
}

func TestDNS(t *testing.T) {
	w := newWorld(t)
	if got := w.does("dns", "rabbitmq1"); !strings.Contains(got, "172.16.0.31") || !strings.Contains(got, "container rabbitmq1") {
		t.Errorf("it says %q", got)
	}
	w.does("dns", "172.16.0.31", "--from", "172.16.0.9")
	if q := w.Asked(); q.Name != "31.0.16.172.in-addr.arpa." || q.Type != "PTR" || q.Client.String() != "172.16.0.9" {
		t.Errorf("an address is asked as %+v", q)
	}
	w.does("dns", "web", "aaaa")
	if q := w.Asked(); q.Type != "AAAA" {
		t.Errorf("a type is asked as %+v", q)
	}
	for rcode, code := range map[string]int{"NXDOMAIN": ExitNotFound, "SERVFAIL": ExitFailed, "REFUSED": ExitFailed} {
		w.Answer = admin.Answer{Rcode: rcode, Source: "nobody"}
		if got := w.runs("dns", "x1"); got.code != code || got.err != "" {
			t.Errorf("%s: %+v", rcode, got)
		}
	}
}

func TestRecords(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{
		{"gateway", "a", "172.16.0.1"},
		{"_ldap._tcp", "SRV", "10", "5", "389", "directory.endor.lab"},
		{"info", "TXT", "kept by", "ops"},
		{"quoted", "TXT", `"a" "b"`},
	} {
		w.does(append([]string{"record", "add"}, args...)...)
	}
	// Bytes that are no letters come through as they are.
	w.does("record", "add", "odd", "TXT", "a\tb\n\"c\\\x1b\xff")
	if got, want := w.does("record", "rm", "odd"), `"a\009b\010\"c\\\027\255"`; !strings.Contains(got, want) {
		t.Errorf("rm says %q, without %s", got, want)
	}
	golden(t, "records", w.does("record", "ls"))
	if got := w.does("record", "ls", "q*"); !strings.Contains(got, "quoted") || strings.Contains(got, "info") {
		t.Errorf("a pattern lists %q", got)
	}
	if got := w.does("record", "rm", "info", "TXT", "kept by", "ops"); got != "removed info TXT \"kept by ops\"\n" {
		t.Errorf("rm says %q", got)
	}
}

// A backup is whole or not there, for its owner alone, and comes back.
func TestBackupAndRestore(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "b")
	if got := w.does("backup", path); !strings.HasPrefix(got, "2 records, ") {
		t.Errorf("it says %q", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.does("backup", "-"); got != string(before) {
		t.Errorf("on standard output it is %q", got)
	}
	w.columns = 80
	w.fails(ExitUsage, "nothing for a terminal", "backup", "-")
	w.columns = 0
	if got := w.does("restore", "--dry-run", path); !strings.Contains(got, "nothing was changed") || w.Restored() != nil {
		t.Errorf("a dry run: %q", got)
	}
	w.stdin = string(before)
	w.does("restore", "-")
	if len(w.Restored()) != 2 {
		t.Errorf("restored %v", w.Restored())
	}
	w.Fails = admin.Errorf(admin.CodeClash, "web runs with 172.16.0.9")
	w.fails(ExitClash, "web runs", "restore", path)
	w.fails(ExitClash, "web runs", "backup", path)
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("a backup that failed left %q, %v", after, err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("it left %v, %v", left, err)
	}
}

func TestImportAndExport(t *testing.T) {
	w := newWorld(t)
	conf := w.file("dnsmasq.conf", "dhcp-host=02:00:00:00:00:01,db1,172.16.1.1\naddress=/static.endor.lab/10.9.9.9\nserver=192.0.2.1\n")
	t.Chdir(filepath.Dir(conf))
	golden(t, "import-dry", w.does("import", "--dry-run", "dnsmasq.conf"))
	golden(t, "import", w.does("import", "dnsmasq.conf"))
	got := w.runs("import", "--dry-run", w.file("hosts", "172.16.0.31 other\n172.16.0.32 more\n"))
	if got.code != ExitClash || strings.Count(got.out, "clash: ") != 2 {
		t.Errorf("a dry run of clashes: %+v", got)
	}
	golden(t, "export", w.does("export"))
	for _, format := range exportWords {
		path := filepath.Join(t.TempDir(), format)
		w.does("export", "--format", format, path)
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "rabbitmq1") {
			t.Errorf("%s: %q, %v", format, text, err)
		}
		w.does("import", "--dry-run", path)
	}
	if got := w.does("export", "--reserved"); strings.Contains(got, "rabbitmq1") || !strings.Contains(got, "mariadb") {
		t.Errorf("what is reserved is %q", got)
	}
}

func TestConvert(t *testing.T) {
	w := newWorld(t)
	w.env[envSocket] = "/none" // it needs no daemon
	found := []string{w.file("environment.yaml", `containerhost:
  - &host1
    name: host1
containerdefault: &default
  image: debian
  mask: 16
containers:
  web1:
    <<: *default
    name: web1
    containerhost: *host1
    ip: 10.0.0.1
`)}
	dir := t.TempDir()
	first := w.does("convert", found[0], "--output", dir)
	if !strings.Contains(first, "wrote "+dir) {
		t.Errorf("it says %q", first)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		t.Fatalf("it wrote %v, %v", files, err)
	}
	mine := filepath.Join(dir, files[0].Name())
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.fails(ExitClash, "is there already; nothing was written", "convert", found[0], "--output", dir)
	if got, _ := os.ReadFile(mine); string(got) != "mine" {
		t.Errorf("it wrote over a file: %q", got)
	}
	w.does("convert", found[0], "--output", dir, "--force")
	if got := w.does("convert", found[0], "--dry-run", "--output", t.TempDir()); !strings.Contains(got, "would write") {
		t.Errorf("a dry run says %q", got)
	}
	w.fails(ExitNotFound, "no file", "convert", found[0], "--output", filepath.Join(dir, "none"))
	w.fails(ExitUsage, "is no directory", "convert", found[0], "--output", mine)
}

// The examples of each verb's help are command lines that make sense.
func TestExamplesAreTrue(t *testing.T) {
	root := (&app{Program: Program{Version: "test"}, called: programName}).root()
	n := 0
	var each func(c *cobra.Command)
	each = func(c *cobra.Command) {
		if c.Runnable() && !c.HasSubCommands() && c.Example == "" && c.Name() != "help" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			if i := strings.Index(line, "<("); i >= 0 {
				line = strings.TrimSuffix(line[i+2:], ")")
			}
			words := shellWords(line)
			if len(words) == 0 || words[0] != programName {
				continue
			}
			n++
			found, rest, err := root.Find(words[1:])
			if err == nil && found != c {
				t.Errorf("%q is an example of %s", line, c.CommandPath())
			}
			if err == nil {
				err = found.ParseFlags(rest)
			}
			if err == nil {
				err = found.ValidateArgs(found.Flags().Args())
			}
			if err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
		for _, sub := range c.Commands() {
			each(sub)
		}
	}
	each(root)
	if n < 40 {
		t.Errorf("only %d examples", n)
	}
}

// shellWords splits a command line as far as examples need it, up to a pipe.
func shellWords(line string) []string {
	var out []string
	var quote rune
	word, open := "", false
	flush := func() {
		if open {
			out = append(out, word)
		}
		word, open = "", false
	}
	depth := 0
	for i, r := range line {
		switch {
		case r == '(' && i > 0 && line[i-1] == '$', r == ')' && depth > 0, depth > 0:
			switch r {
			case '(':
				depth++
			case ')':
				depth--
			}
			word += string(r)
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word += string(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case r == ' ':
			flush()
		case r == '|' || r == '>':
			flush()
			return out
		default:
			word += string(r)
			open = true
		}
	}
	flush()
	return slices.DeleteFunc(out, func(w string) bool { return strings.HasPrefix(w, "#") })
}
