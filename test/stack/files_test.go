package stack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/test/lab"
)

// fixed is an IPv4 address other than one that means any, or this machine.
var fixed = regexp.MustCompile(`\b[1-9]\d{0,2}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b`)

// resolved is the part of what `docker-compose config` prints that the rules are about.
type resolved struct {
	Name     string
	Services map[string]struct {
		Image         string
		Restart       string
		ContainerName string `json:"container_name"`
		NetworkMode   string `json:"network_mode"`
		Networks      map[string]any
		Environment   map[string]string
		Ports         []struct{ Published, Protocol string }
	}
}

// together are files that compose/README.md and the files themselves tell to be given together.
var together = [][]string{
	{"nova", "neutron"},
	{"nova", "neutron", "compute"},
	{"keystone", "ha", "scale"},
}

// all is everything that one host can run at once.
var all = []string{"full", "contrail", "vrouter", "galera", "rabbitmq-cluster", "etcd", "ha", "puppet"}

// TestComposeFiles reads every compose file as a user's docker-compose does: without a word of warning, each on its own
// and those together that belong together.
func TestComposeFiles(t *testing.T) {
	dir := composeFolder(t)
	files, err := filepath.Glob(filepath.Join(dir, "*.yml"))
	if err != nil || len(files) < 15 {
		t.Fatalf("the compose files: %v, %v", files, err)
	}
	sets := slices.Concat(together, [][]string{all})
	for _, file := range files {
		sets = append(sets, []string{strings.TrimSuffix(filepath.Base(file), ".yml")})
	}
	for _, set := range sets {
		t.Run(strings.Join(set, "+"), func(t *testing.T) { rules(t, config(t, dir, set)) })
	}
}

func composeFolder(t *testing.T) string {
	t.Helper()
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "compose")
}

// config is what docker-compose makes of some files, with what only starts when it is asked for.
func config(t *testing.T, dir string, names []string) []byte {
	t.Helper()
	bin, err := lab.EngineBin()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "docker-compose"), "--profile", "*")
	for _, name := range names {
		cmd.Args = append(cmd.Args, "-f", filepath.Join(dir, name+".yml"))
	}
	cmd.Args = append(cmd.Args, "config", "--format", "json")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir()}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil || said.Len() > 0 {
		t.Fatalf("docker-compose config: %v: %s", err, said.String())
	}
	return out.Bytes()
}

func read(t *testing.T, text []byte) resolved {
	t.Helper()
	var got resolved
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Services) == 0 {
		t.Fatal("no services")
	}
	return got
}

func rules(t *testing.T, text []byte) {
	t.Helper()
	for _, addr := range fixed.FindAllString(string(text), -1) {
		if addr != "127.0.0.1" {
			t.Errorf("the fixed address %s", addr)
		}
	}
	got := read(t, text)
	if got.Name != "openstack" {
		t.Errorf("project %q, want that of .env, openstack", got.Name)
	}
	publishers := map[string]string{}
	for name, s := range got.Services {
		if want := map[bool]string{true: "on-failure", false: "always"}[strings.HasSuffix(name, "-init")]; s.Restart != want {
			t.Errorf("%s: restart %q, want %q: after a reboot somebody would have to start it", name, s.Restart, want)
		}
		if s.Image == "" || strings.HasSuffix(s.Image, ":latest") || !strings.Contains(s.Image, ":") {
			t.Errorf("%s: image %q has no tag of its own", name, s.Image)
		}
		if owner, ok := strings.CutPrefix(s.NetworkMode, "service:"); ok {
			if !strings.Contains(got.Services[owner].Image, "/pause:") {
				t.Errorf("%s: its group's network belongs to %s, which is no pause container: %s", name, owner, got.Services[owner].Image)
			}
		} else if _, on := s.Networks[Network]; s.NetworkMode == "" && !on {
			t.Errorf("%s: not on %s", name, Network)
		}
		for _, p := range s.Ports {
			port := p.Published + "/" + p.Protocol
			if other, taken := publishers[port]; taken {
				t.Errorf("%s and %s publish the port %s of one host", name, other, port)
			}
			publishers[port] = name
		}
	}
}

// structural are the variables that compose files may set: they say what a service is there, which is nobody's choice.
var structural = []string{"ETCD_MEMBERS", "GALERA_MEMBERS", "NODE_TYPE", "RABBIT_MEMBERS", "REDIS_BIND"}

// TestCommonEnv gives docker-compose a common.env with odd values. Each arrives in every service as it is written, as it
// does with docker run --env-file, and nothing in a compose file comes before it.
func TestCommonEnv(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(composeFolder(t))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "common.env")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if key, _, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			want[key] = fmt.Sprintf(`%d pa$word${HOME}1 #x"q'\n`, i)
			lines[i] = key + "=" + want[key]
		}
	}
	if len(want) < 20 {
		t.Fatalf("common.env has %d variables", len(want))
	}
	write(t, path, strings.Join(lines, "\n"), 0o600)
	for _, set := range [][]string{all, {"keystone", "ha", "scale"}} {
		for name, s := range read(t, config(t, dir, set)).Services {
			if strings.Contains(s.Image, "/pause:") || strings.Contains(s.Image, "/puppet") {
				continue // these read none of it
			}
			for key, value := range s.Environment {
				// What config prints can be read as a compose file again, where $$ is one $.
				if value = strings.ReplaceAll(value, "$$", "$"); want[key] != "" && value != want[key] {
					t.Errorf("%s: %s is %q, and in common.env %q", name, key, value, want[key])
				} else if want[key] == "" && !slices.Contains(structural, key) {
					t.Errorf("%s: %s=%q comes before what common.env may say of it", name, key, value)
				}
			}
			for key := range want {
				if _, told := s.Environment[key]; !told {
					t.Errorf("%s is not told %s", name, key)
				}
			}
		}
	}
}
