package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// Images of nothing but a file: so a lab host's engine can build them, which has no registry to pull from.
var realImages = map[string]string{
	"structure.yaml":          "registry: dockstack\nversions: {common: \"1.0\", openstack: zed}\ncontainers:\n  common:\n    base:\n    tools:\n  openstack:\n    nova: [api]\n",
	".dockerignore":           "*\n!common\n",
	"common/base/Dockerfile":  "FROM scratch\nLABEL net.juniper.node=controller\nCOPY common/base/file /\n",
	"common/base/file":        "base\n",
	"common/tools/Dockerfile": "ARG REGISTRY=dockstack\nARG COMMON_TAG=1.0\nFROM ${REGISTRY}/base:${COMMON_TAG}\nCOPY common/tools/tool /tool\n",
	"common/tools/tool":       "tool\n",
	"openstack/nova/Dockerfile": "ARG REGISTRY=dockstack\nARG COMMON_TAG=1.0\nFROM ${REGISTRY}/tools:${COMMON_TAG} AS tools\nFROM ${REGISTRY}/base:${COMMON_TAG}\n" +
		"LABEL net.juniper.openstack=nova\nCOPY --from=tools /tool /tool\n",
	"openstack/nova-api/Dockerfile": "ARG REGISTRY=dockstack\nARG OPENSTACK_TAG=zed\nFROM ${REGISTRY}/nova:${OPENSTACK_TAG}\nCMD [\"/tool\"]\n",
}

// TestRealEngineAndRegistry builds with a real engine, pushes to a real registry, and pulls what came of it.
func TestRealEngineAndRegistry(t *testing.T) {
	h := lab.ForTest(t, lab.Options{}).Host(1)
	bin, err := lab.EngineBin()
	must(t, err)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("DOCKER_HOST", "unix://"+h.Socket)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("DOCKER_BUILDKIT", "0") // the command has no buildx here

	const registry = "127.0.0.1:5000/stack"
	config := filepath.Join(t.TempDir(), "registry.yml")
	must(t, os.WriteFile(config, []byte("version: 0.1\nstorage: {filesystem: {rootdirectory: /var/lib/registry}}\nhttp: {addr: '127.0.0.1:5000'}\n"), 0o600))
	server := h.Command(t.Context(), "docker-registry", "serve", config)
	must(t, server.Start())
	go func() { _ = server.Wait() }()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err := h.Exec(t.Context(), "bash", "-c", "echo > /dev/tcp/127.0.0.1/5000"); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the registry doesn't listen: %v", err)
		}
	}

	root, logs := folder(t, realImages), t.TempDir()
	call := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if got := run(t.Context(), append(args, "-root", root, "-logs", logs, "-registry", registry), &out, &out); got != want {
			t.Fatalf("%v ended with %d, want %d:\n%s", args, got, want, &out)
		}
		return out.String()
	}
	if out := call(1, "-push-only", "-c", "nova-api"); !strings.Contains(out, "failed: nova-api") {
		t.Errorf("pushing what was never built: %s", out)
	}
	// nova-api needs all the others; and then only nova is new, and pushed.
	if out := call(0, "-c", "nova-api"); !strings.Contains(out, "4 of 4 images built in") {
		t.Errorf("building: %s", out)
	}
	if out := call(0, "-x", "nova", "-push", "-tag", "2"); !strings.Contains(out, "4 of 4 images built and pushed") {
		t.Errorf("building and pushing: %s", out)
	}
	if out := call(0, "-c", "nova-api,nova", "-push-only"); !strings.Contains(out, "2 of 2 images pushed") {
		t.Errorf("pushing: %s", out)
	}
	if out := call(0, "list"); strings.Contains(out, " - ") || strings.Count(out, " MB ") != 4 {
		t.Errorf("list:\n%s", out)
	}
	if out := call(0, "remove"); out != "4 images removed\n" {
		t.Errorf("remove: %s", out)
	}
	call(0, "remove", "-tag", "2")
	if left, err := h.Docker(t.Context(), "image", "ls", "-q"); err != nil || left != "" {
		t.Errorf("left: %s, %v", left, err)
	}
	for _, tag := range []string{"zed", "2"} {
		ref := fmt.Sprintf("%s/nova-api:%s", registry, tag)
		if out, err := h.Docker(t.Context(), "pull", "-q", ref); err != nil {
			t.Fatalf("pull: %v: %s", err, out)
		}
		got, err := h.Docker(t.Context(), "image", "inspect", "-f", "{{.Config.Labels}} {{.Config.Cmd}}", ref)
		if want := "map[net.juniper.node:controller net.juniper.openstack:nova] [/tool]"; err != nil || strings.TrimSpace(got) != want {
			t.Errorf("%s: %s, %v; want %s", ref, got, err, want)
		}
	}
}
