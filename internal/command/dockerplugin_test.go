package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

func TestPluginMetadata(t *testing.T) {
	w := newWorld(t)
	w.name = pluginName
	got := w.does("docker-cli-plugin-metadata")
	var m map[string]string
	if err := json.Unmarshal([]byte(got), &m); err != nil {
		t.Fatal(err)
	}
	if m["SchemaVersion"] != "0.1.0" || m["Vendor"] != "dockstack" || m["Version"] != "1.0" || m["ShortDescription"] == "" {
		t.Errorf("it says %v of itself", m)
	}
}

// What docker hands on, and what a person says who calls the plugin by its name.
func TestPluginWords(t *testing.T) {
	for words, want := range map[string]string{
		"dockstack ls":      "docker dockstack: ls",
		"dockstack":         "docker dockstack:",
		"dockstack ls -- x": "docker dockstack: ls -- x",
		"-H unix:///x --context dockstack --debug dockstack ls --json": "docker dockstack: ls --json",
		"--host=tcp://x:1 -l dockstack -D dockstack status":            "docker dockstack: status",
		"--config /x dockstack rename dockstack other":                 "docker dockstack: rename dockstack other",
		"__complete dockstack ls ra":                                   "docker dockstack: __complete ls ra",
		"__completeNoDesc dockstack re":                                "docker dockstack: __completeNoDesc re",
		"ls dockstack":                                                 "dockstack: ls dockstack",
		"--help":                                                       "dockstack: --help",
		"":                                                             "dockstack:",
	} {
		a := &app{called: programName}
		got, err := a.asPlugin(strings.Fields(words))
		if is := strings.TrimSpace(a.called + ": " + strings.Join(got, " ")); err != nil || is != want {
			t.Errorf("%q becomes %q, %v; want %q", words, is, err, want)
		}
	}
	w := newWorld(t)
	w.name = pluginName
	if got := w.runs("dockstack", "ls", "x1"); !strings.HasPrefix(got.err, "docker dockstack: no name `x1`") {
		t.Errorf("it says %+v", got)
	}
	if got := w.does("dockstack"); !strings.Contains(got, "docker dockstack [command]") {
		t.Errorf("without a verb: %q", got)
	}
	if got := w.does("ls"); !strings.Contains(got, "rabbitmq1") {
		t.Errorf("by its own name: %q", got)
	}
}

// docker itself calls the plugin, with its own flags, its help and its completion.
func TestWithDocker(t *testing.T) {
	docker, err := filepath.Abs("../../build/engine/bin/docker")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(docker); err != nil {
		t.Fatalf("the docker command is missing; `make engine` builds it: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	config := t.TempDir()
	plugins := filepath.Join(config, "extra")
	if err := os.Mkdir(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(plugins, pluginName), program, 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"cliPluginsExtraDirs":[%q]}`, plugins)
	if err := os.WriteFile(filepath.Join(config, "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	runs := func(args ...string) (string, int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, docker, args...)
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+config, envSocket+"="+w.socket, "HOME="+config)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"--help", 0, "dockstack*  Every container name keeps its address"},
		{"dockstack ls", 0, "rabbitmq1  172.16.0.31"},
		{"-l error --context default dockstack ls --json mariadb", 0, `"name": "mariadb"`},
		{"dockstack ls rabitmq1", ExitNotFound, "docker dockstack: no name `rabitmq1`; did you mean `rabbitmq1`"},
		{"dockstack release rabbitmq1", ExitClash, "stop it first"},
		{"dockstack lss", ExitUsage, "did you mean `ls`"},
		{"dockstack --help", 0, "docker dockstack [command]"},
		{"help dockstack", 0, "This command shows"},
		{"dockstack ls --help", 0, "docker dockstack ls [NAME...] [flags]"},
		{"dockstack", 0, "docker dockstack [command]"},
		{"__complete dockstack re", 0, "reserve"},
		{"__complete dockstack ls rabb", 0, "rabbitmq2"},
		{"__complete dockstack ls --network in", 0, "internal"},
	} {
		if got, code := runs(strings.Fields(tt.args)...); code != tt.code || !strings.Contains(got, tt.want) {
			t.Errorf("docker %s: exit code %d, %s; want %d and %q", tt.args, code, got, tt.code, tt.want)
		}
	}
}

func TestCompletion(t *testing.T) {
	w := newWorld(t)
	for name, odd := range map[string]string{"a": "rab$(reboot)", "b": "rab bit", "c": "rab\x1b[2J", "d": "rab'x", "e": "rab\ttab\nline"} {
		w.Put(admin.Lease{Name: odd, Network: name, Host: odd})
	}
	for args, want := range map[string]string{
		"ls rab":             "rabbitmq1 rabbitmq2",
		"release m":          "mariadb",
		"release mariadb ":   "",
		"rename r":           "rabbitmq1 rabbitmq2",
		"ls --network ":      "blue front internal",
		"ls --network blue,": "blue,blue blue,front blue,internal",
		"ls --host node":     "node1 node2 node3",
		"ls --state p":       "parked",
		"host forget n":      "node3",
		"completion b":       "bash",
		"dns rabbitmq1 S":    "A AAAA ANY CNAME MX NS PTR SOA SRV TXT",
		"record add x ":      "A AAAA CNAME PTR SRV TXT",
		"export --format h":  "hosts",
		"watch --kind liv":   "live",
	} {
		words := strings.Fields(args)
		if strings.HasSuffix(args, " ") {
			words = append(words, "")
		}
		got := w.runs(append([]string{"__completeNoDesc"}, words...)...)
		lines := strings.Split(strings.TrimSuffix(got.out, "\n"), "\n")
		if got.code != 0 || !strings.HasPrefix(lines[len(lines)-1], ":") {
			t.Fatalf("%s: %+v", args, got)
		}
		is := lines[:len(lines)-1]
		slices.Sort(is)
		if strings.Join(is, " ") != want {
			t.Errorf("%q is completed with %q, want %q", args, is, want)
		}
	}
	w.env[envSocket] = "/none"
	if got := w.runs("__complete", "ls", ""); got.code != 0 || !strings.HasPrefix(got.out, ":") {
		t.Errorf("without a daemon: %+v", got)
	}
	for _, shell := range shells {
		script := w.does("completion", shell)
		if !strings.Contains(script, "dockstack") || strings.Contains(script, "docker dockstack") {
			t.Errorf("the completion for %s is %.200s", shell, script)
		}
		if shell != "bash" {
			continue
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("bash can't read it: %s %v", out, err)
		}
	}
}

func TestWatch(t *testing.T) {
	w := newWorld(t)
	w.Ring.Add(
		admin.Event{At: w.StatusNow.At, Kind: admin.EventLive, Name: "rabbitmq1", Network: "internal", Host: "node1", Text: "rabbitmq1 runs\x1b[2J"},
		admin.Event{At: w.StatusNow.At, Kind: admin.EventStore, Text: "the store is away"},
	)
	watches := func(lines int, args ...string) []string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r, pipe := io.Pipe()
		done := make(chan said, 1)
		go func() {
			done <- w.runsUntil(ctx, pipe, append([]string{"watch", "--past"}, args...)...)
			_ = pipe.Close()
		}()
		var out []string
		buf := make([]byte, 64<<10)
		for len(out) < lines {
			n, err := r.Read(buf)
			if err != nil {
				t.Fatalf("%q ended early: %v", args, err)
			}
			out = append(out, strings.Split(strings.TrimSuffix(string(buf[:n]), "\n"), "\n")...)
		}
		cancel()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		if got := <-done; got.code != ExitDone || got.err != "" {
			t.Errorf("%q ends with %+v", args, got)
		}
		return out
	}
	all := watches(2)
	if !strings.HasSuffix(all[0], `  live      rabbitmq1 runs\x1b[2J`) || !strings.HasSuffix(all[1], "  store     the store is away") {
		t.Errorf("it shows %q", all)
	}
	for _, args := range [][]string{{"rabbit*"}, {"--network", "internal"}, {"--host", "node1"}, {"--kind", "live"}} {
		got := watches(1, append(args, "--json")...)
		var e admin.Event
		if err := json.Unmarshal([]byte(got[0]), &e); err != nil || e.Name != "rabbitmq1" || len(got) != 1 {
			t.Errorf("%q shows %q, %v", args, got, err)
		}
	}
}
