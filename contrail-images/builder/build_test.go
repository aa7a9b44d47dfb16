package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/stall"
)

// fake is a folder of images and a docker command that only takes notes.
type fake struct {
	t    *testing.T
	dir  string // what the docker command reads and writes
	root string // structure.yaml is here
}

func newFake(t *testing.T, files map[string]string) *fake {
	t.Helper()
	f := &fake{t: t, dir: t.TempDir(), root: folder(t, files)}
	must(t, os.Mkdir(filepath.Join(f.dir, "built"), 0o755))
	script, err := filepath.Abs("testdata/docker.sh")
	must(t, err)
	bin := t.TempDir()
	must(t, os.Symlink(script, filepath.Join(bin, "docker")))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("FAKE", f.dir)
	g, problems := loadGraph(f.root, defaults)
	must(t, errors.Join(problems...))
	for _, i := range g.images {
		labels, err := json.Marshal(i.config().labels)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(f.dir, "labels-"+i.name), labels, 0o644))
	}
	return f
}

func (f *fake) touch(name string) {
	f.t.Helper()
	must(f.t, os.WriteFile(filepath.Join(f.dir, name), nil, 0o644))
}

// run calls the builder and returns its exit code, what it printed, and which images were built or pushed.
func (f *fake) run(ctx context.Context, args ...string) (status int, printed string, calls []string) {
	f.t.Helper()
	var out bytes.Buffer
	status = run(ctx, append(args, "-root", f.root, "-logs", filepath.Join(f.dir, "logs")), &out, &out)
	text, err := os.ReadFile(filepath.Join(f.dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		f.t.Fatal(err)
	}
	must(f.t, os.RemoveAll(filepath.Join(f.dir, "calls")))
	for line := range strings.Lines(string(text)) {
		calls = append(calls, strings.TrimSpace(strings.ReplaceAll(line, f.root, "ROOT")))
	}
	return status, out.String(), calls
}

// refs are the images that docker was told to build.
func refs(calls []string) string {
	var all []string
	for _, call := range calls {
		_, rest, found := strings.Cut(call, " -t ")
		if found {
			all = append(all, strings.Fields(rest)[0])
		}
	}
	return strings.Join(all, " ")
}

func TestVerbs(t *testing.T) {
	f := newFake(t, someImages())
	for _, test := range []struct{ args, want string }{
		{"-b -j 1", "dockstack/base:1.0 dockstack/redis:1.0 dockstack/openstackbase:zed dockstack/nova:zed"},
		{"-s -j 1", "dockstack/nova-api:zed dockstack/nova-scheduler:zed dockstack/config-api:R24.1"},
		{"-s -t contrail", "dockstack/config-api:R24.1"},
		{"-b -t openstack,contrail -j 1", "dockstack/openstackbase:zed dockstack/nova:zed"},
		{"-c nova-api", "dockstack/nova-api:zed"},
		{"-c nova-api -under -j 1", "dockstack/base:1.0 dockstack/openstackbase:zed dockstack/nova:zed dockstack/nova-api:zed"},
		{"-c nova-api,redis -c nova -j 1", "dockstack/redis:1.0 dockstack/nova:zed dockstack/nova-api:zed"},
		// Between the two stands nova: it would be an old one.
		{"-c nova-api,openstackbase -j 1", "dockstack/openstackbase:zed dockstack/nova:zed dockstack/nova-api:zed"},
		{"-x nova -j 1", "dockstack/nova:zed dockstack/nova-api:zed dockstack/nova-scheduler:zed"},
		{"-x config", "dockstack/config-api:R24.1"},
		// Nothing of another name is there yet, so what these stand on is built too.
		{"-c nova-api -tag 7 -j 1", "dockstack/base:7 dockstack/openstackbase:7 dockstack/nova:7 dockstack/nova-api:7"},
		{"-c redis -registry example.org:5000/stack -j 1", "example.org:5000/stack/base:1.0 example.org:5000/stack/redis:1.0"},
		{"-c config-api -build-arg CONTRAIL_TAG=R25.1", "dockstack/config-api:R25.1"},
	} {
		status, out, calls := f.run(t.Context(), strings.Fields(test.args)...)
		if got := refs(calls); status != 0 || got != test.want {
			t.Errorf("%s: ended with %d and built %s\nwant %s\n%s", test.args, status, got, test.want, out)
		}
	}
}

func TestCommandLine(t *testing.T) {
	f := newFake(t, someImages())
	_, _, calls := f.run(t.Context(), "-b", "-s", "-j", "1", "-no-cache", "-network", "host", "-push", "-tag", "8",
		"-build-arg", "CONTRAIL_REGISTRY=example.org/sdn", "-build-arg", "DEBIAN=debian:12", "-build-arg", "NOBODY=knows")
	want := map[string]string{
		"base":       "docker build --network=host --no-cache --build-arg DEBIAN=debian:12 -t dockstack/base:8 -f ROOT/common/base/Dockerfile ROOT",
		"redis":      "docker build --network=host --no-cache --build-arg COMMON_TAG=8 --build-arg REGISTRY=dockstack -t dockstack/redis:8 -f ROOT/common/redis/Dockerfile ROOT",
		"config-api": "docker build --network=host --no-cache --build-arg COMMON_TAG=8 --build-arg CONTRAIL_REGISTRY=example.org/sdn --build-arg CONTRAIL_TAG=R24.1 --build-arg REGISTRY=dockstack -t dockstack/config-api:8 -f ROOT/contrail/config-api/Dockerfile ROOT",
	}
	all := strings.Join(calls, "\n") + "\n"
	for name, line := range want {
		if !strings.Contains(all, line+"\ndocker push dockstack/"+name+":8\n") {
			t.Errorf("%s: want %s, then a push. Called:\n%s", name, line, all)
		}
	}
	_, _, calls = f.run(t.Context(), "-push-only", "-c", "nova-api", "-tag", "8")
	if got := strings.Join(calls, "\n"); got != "docker push dockstack/nova-api:8" {
		t.Errorf("-push-only calls %s", got)
	}
}

func TestDryRunOnlyPrints(t *testing.T) {
	files := someImages()
	files["common/redis/main.go"] = "package main\n\nfunc main() {}\n"
	f := newFake(t, files)
	status, out, calls := f.run(t.Context(), "-c", "redis", "--dry-run", "-build-arg", "DEBIAN=it's")
	want := strings.ReplaceAll(`docker build --build-arg 'DEBIAN=it'\''s' -t dockstack/base:1.0 -f ROOT/common/base/Dockerfile ROOT
CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w' -o ROOT/common/redis/redis ROOT/common/redis
docker build --build-arg COMMON_TAG=1.0 --build-arg REGISTRY=dockstack -t dockstack/redis:1.0 -f ROOT/common/redis/Dockerfile ROOT
`, "ROOT", f.root)
	if status != 0 || out != want || len(calls) > 0 {
		t.Errorf("ended with %d, called %v, printed\n%s\nwant\n%s", status, calls, out, want)
	}
}

func TestProgramsAreCompiled(t *testing.T) {
	files := someImages()
	files["common/redis/main.go"] = "package main\n\nfunc main() {}\n"
	files["common/redis/go.mod"] = "module example.org/redis\n"
	f := newFake(t, files)
	t.Chdir(filepath.Join(f.root, "common", "redis")) // the module of this folder is no other's
	if status, out, _ := f.run(t.Context(), "-c", "redis"); status != 0 {
		t.Fatalf("ended with %d: %s", status, out)
	}
	if info, err := os.Stat("redis"); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("the program: %v, %v", info, err)
	}
}

func TestFailureStopsWhatStandsOnIt(t *testing.T) {
	f := newFake(t, someImages())
	f.touch("fail-nova")
	status, out, calls := f.run(t.Context(), "-b", "-s")
	if status != 1 {
		t.Errorf("ended with %d", status)
	}
	for _, want := range []string{
		"nova                       FAILED after", "    | E: Unable to locate package nova", filepath.Join("logs", "nova.log"),
		"nova-api                   not built, because nova was not", "nova-scheduler             not built, because nova was not",
		"[7/7]", "4 of 7 images built in", "builder: failed: nova; not tried: nova-api, nova-scheduler\n",
	} {
		if !strings.Contains(strings.ReplaceAll(out, "[ ", "["), want) {
			t.Errorf("doesn't say %q:\n%s", want, out)
		}
	}
	if got := refs(calls); strings.Contains(got, "nova-") || !strings.Contains(got, "config-api") {
		t.Errorf("built %s: want all that doesn't stand on nova", got)
	}
}

func TestLabelsAreChecked(t *testing.T) {
	f := newFake(t, someImages())
	f.touch("lose-labels-redis")
	status, out, _ := f.run(t.Context(), "-c", "redis")
	if want := `labels of dockstack/redis:1.0 are not those of its Dockerfile: net.juniper.contrail is "", not "common"`; status != 1 || !strings.Contains(out, want) {
		t.Errorf("ended with %d: %s", status, out)
	}
}

// What stands on a Debian with this machine's credentials stays here, and may be built.
func TestMadeHereIsNotPushed(t *testing.T) {
	f := newFake(t, someImages())
	for _, name := range []string{"base", "redis"} {
		labels := `{"dockstack.base": "made-here", "net.juniper.contrail": "common"}`
		must(t, os.WriteFile(filepath.Join(f.dir, "labels-"+name), []byte(labels), 0o644))
	}
	want := "dockstack/redis:1.0 is not pushed: it stands on a debian:bookworm-slim that test/engine/base-image.sh made here"
	for args, status := range map[string]int{"-c redis -under": 0, "-c redis -push": 1, "-c redis -push-only": 1} {
		must(t, os.RemoveAll(filepath.Join(f.dir, "built")))
		must(t, os.Mkdir(filepath.Join(f.dir, "built"), 0o755))
		for _, name := range []string{"base", "redis"} {
			must(t, os.WriteFile(filepath.Join(f.dir, "built", "dockstack@"+name+":1.0"), []byte(`{"dockstack.base": "made-here"}`), 0o644))
		}
		got, out, calls := f.run(t.Context(), strings.Fields(args)...)
		if got != status || strings.Contains(strings.Join(calls, "\n"), "docker push") {
			t.Errorf("%s: ended with %d, called %q: %s", args, got, calls, out)
		}
		if status != 0 && (!strings.Contains(out, want) || !strings.Contains(out, "docker pull debian:bookworm-slim, then build again (builder -c redis -under)")) {
			t.Errorf("%s doesn't say why, or what to do: %s", args, out)
		}
	}
}

func TestInterruptEndsTheBuilds(t *testing.T) {
	f := newFake(t, someImages())
	f.touch("slow-base")
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		for range 1000 {
			if _, err := os.Stat(filepath.Join(f.dir, "began-base")); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		interrupt()
	}()
	start := time.Now()
	status, out, calls := f.run(ctx, "-b")
	if took := stall.Took(start); status != 1 || took > 5*time.Second {
		t.Errorf("ended with %d after %v", status, took)
	}
	if !strings.Contains(out, "interrupted after") || !strings.Contains(out, "interrupted; failed: base; not tried: redis, openstackbase, nova") {
		t.Errorf("says:\n%s", out)
	}
	if len(calls) != 2 || calls[1] != "interrupted" {
		t.Errorf("docker got no signal, or there was more than one build: %q", calls)
	}
}

func TestRemove(t *testing.T) {
	f := newFake(t, someImages())
	must(t, os.WriteFile(filepath.Join(f.dir, "built", "dockstack@redis:1.0"), []byte("{}"), 0o644))
	must(t, os.WriteFile(filepath.Join(f.dir, "built", "dockstack@base:1.0"), []byte("{}"), 0o644))
	must(t, os.Mkdir(filepath.Join(f.dir, "logs"), 0o755))
	f.touch("logs/redis.log")
	f.touch("logs/other.log")
	if _, out, _ := f.run(t.Context(), "remove", "-dry-run"); out != "docker image rm dockstack/redis:1.0 dockstack/base:1.0\n" {
		t.Errorf("-dry-run prints %q", out)
	}
	if status, out, _ := f.run(t.Context(), "remove"); status != 0 || out != "2 images removed\n" {
		t.Errorf("ended with %d: %s", status, out)
	}
	left, err := filepath.Glob(filepath.Join(f.dir, "logs", "*"))
	must(t, err)
	built, err := filepath.Glob(filepath.Join(f.dir, "built", "*"))
	must(t, err)
	if len(left) != 1 || len(built) != 0 {
		t.Errorf("left: %v %v", left, built)
	}
}

func TestListIsATree(t *testing.T) {
	f := newFake(t, someImages())
	must(t, os.WriteFile(filepath.Join(f.dir, "built", "dockstack@base:1.0"), []byte("{}"), 0o644))
	status, out, _ := f.run(t.Context(), "list")
	want := `debian:bookworm-slim
└─ base                                     12 MB  dockstack/base:1.0
   ├─ redis                                     -  dockstack/redis:1.0
   └─ openstackbase                             -  dockstack/openstackbase:zed
      └─ nova                                   -  dockstack/nova:zed
         ├─ nova-api                            -  dockstack/nova-api:zed
         └─ nova-scheduler                      -  dockstack/nova-scheduler:zed
opensdn/opensdn-controller-config-api:R24.1
└─ config-api                                   -  dockstack/config-api:R24.1  and files of redis
`
	if status != 0 || out != want {
		t.Errorf("ended with %d and printed\n%swant\n%s", status, out, want)
	}
}

func TestWrongCalls(t *testing.T) {
	f := newFake(t, someImages())
	for args, want := range map[string]struct {
		status int
		text   string
	}{
		"":                        {2, "usage: builder VERB"},
		"-t openstack":            {2, "usage: builder VERB"},
		"-b -t swift":             {2, "the kinds are common, openstack, contrail"},
		"-b -j 0":                 {2, "at least one"},
		"-b -push-only -push":     {2, "give one of them"},
		"-b extra":                {2, `"extra" is no verb`},
		"-c nova-ipa":             {1, `there is no image "nova-ipa"`},
		"-x nova-api-x":           {1, `there is no base image "nova-api-x"`},
		"-c redis -t contrail":    {1, "none of these images is of the kind contrail"},
		"dump-config-keys -o xml": {2, "the forms are table, md, env"},
		"-b -build-arg =x":        {2, "KEY=VALUE"},
	} {
		status, out, calls := f.run(t.Context(), strings.Fields(args)...)
		if status != want.status || !strings.Contains(out, want.text) || len(calls) > 0 {
			t.Errorf("%q: ended with %d, called %v, said %s", args, status, calls, out)
		}
	}
	must(t, os.Remove(filepath.Join(f.root, "common/redis/Dockerfile")))
	if status, out, calls := f.run(t.Context(), "-b"); status != 1 || len(calls) > 0 || strings.Count(out, "builder: ") != 2 {
		t.Errorf("a graph with problems: ended with %d, called %v, said %s", status, calls, out)
	}
}
