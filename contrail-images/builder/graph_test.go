package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const someStructure = `registry: dockstack
versions: {common: "1.0", openstack: zed, contrail: R24.1}
containers:
  common:
    base:
    redis:
  openstack:
    openstackbase:
    nova: [api, scheduler]
  contrail:
    config: [api]
`

// someImages are folders with Dockerfiles that fit someStructure.
func someImages() map[string]string {
	return map[string]string{
		"structure.yaml":                     someStructure,
		"common/base/Dockerfile":             "ARG DEBIAN=debian:bookworm-slim\nFROM ${DEBIAN}\n",
		"common/redis/Dockerfile":            "ARG REGISTRY=dockstack\nARG COMMON_TAG=1.0\nFROM ${REGISTRY}/base:${COMMON_TAG}\nLABEL net.juniper.contrail=common\n",
		"openstack/openstackbase/Dockerfile": "ARG REGISTRY=dockstack\nARG COMMON_TAG=1.0\nFROM ${REGISTRY}/base:${COMMON_TAG}\n",
		"openstack/nova/Dockerfile": "ARG REGISTRY=dockstack\nARG OPENSTACK_TAG=zed\nFROM ${REGISTRY}/openstackbase:${OPENSTACK_TAG}\n" +
			"LABEL net.juniper.openstack=nova net.juniper.node=controller\n",
		"openstack/nova-api/Dockerfile":       "ARG REGISTRY=dockstack\nARG OPENSTACK_TAG=zed\nFROM ${REGISTRY}/nova:${OPENSTACK_TAG}\nCMD [\"nova-api\"]\n",
		"openstack/nova-scheduler/Dockerfile": "ARG REGISTRY=dockstack\nARG OPENSTACK_TAG=zed\nFROM ${REGISTRY}/nova:${OPENSTACK_TAG}\nCMD [\"nova-scheduler\"]\n",
		"contrail/config-api/Dockerfile": "ARG CONTRAIL_REGISTRY=opensdn\nARG CONTRAIL_TAG=R24.1\nARG REGISTRY=dockstack\nARG COMMON_TAG=1.0\n" +
			"FROM ${REGISTRY}/redis:${COMMON_TAG} AS tools\nFROM ${CONTRAIL_REGISTRY}/opensdn-controller-config-api:${CONTRAIL_TAG}\nCOPY --from=tools /usr/bin/redis-cli /usr/bin/\n",
	}
}

// folder writes files below a new folder and returns it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return root
}

func TestOrderComesFromTheDockerfiles(t *testing.T) {
	files := someImages()
	// The list has base last: it is built first all the same.
	files["structure.yaml"] = strings.Replace(someStructure, "    base:\n    redis:\n", "    redis:\n    base:\n", 1)
	g, problems := loadGraph(folder(t, files), defaults)
	if len(problems) > 0 {
		t.Fatal(errors.Join(problems...))
	}
	if got, want := nameList(g.images), "base, redis, openstackbase, nova, nova-api, nova-scheduler, config-api"; got != want {
		t.Errorf("order: %s, want %s", got, want)
	}
	api := g.byName["config-api"]
	if nameList(api.on) != "redis" || api.parent != nil || api.upstream() != "opensdn/opensdn-controller-config-api:R24.1" {
		t.Errorf("config-api takes %s, its parent is %v, it stands on %s", nameList(api.on), api.parent, api.upstream())
	}
	if labels := g.byName["nova-api"].config().labels; labels["net.juniper.openstack"] != "nova" || labels["net.juniper.node"] != "controller" {
		t.Errorf("nova-api has nova's labels: %v", labels)
	}
}

func TestProblemsAreFound(t *testing.T) {
	for name, test := range map[string]struct {
		change func(map[string]string)
		want   []string // of each problem a part, in their order
	}{
		"no Dockerfile": {func(f map[string]string) { delete(f, "common/redis/Dockerfile") }, []string{
			"config-api/Dockerfile:5: no folder makes dockstack/redis:1.0", "structure.yaml:6: redis has no Dockerfile",
		}},
		"a base that is missing": {func(f map[string]string) { delete(f, "openstack/nova/Dockerfile") }, []string{
			"nova-api/Dockerfile:3: no folder makes dockstack/nova:zed", "nova-scheduler/Dockerfile:3: no folder makes dockstack/nova:zed",
		}},
		"not on the list": {func(f map[string]string) { f["common/etcd/Dockerfile"] = "FROM scratch\n" }, []string{
			"etcd/Dockerfile:1: ", // and names structure.yaml
		}},
		"listed twice": {func(f map[string]string) {
			f["structure.yaml"] = strings.Replace(someStructure, "    nova: [api, scheduler]", "    nova: [api, scheduler]\n    nova-api:", 1)
		}, []string{"structure.yaml:10: the image nova-api is listed in line 9 too"}},
		"a circle": {func(f map[string]string) {
			f["common/base/Dockerfile"] = "ARG REGISTRY=dockstack\nFROM ${REGISTRY}/nova-api:zed\n"
		}, []string{"these images need each other: base takes nova-api, nova-api takes nova, nova takes openstackbase, openstackbase takes base"}},
		"itself": {func(f map[string]string) {
			f["common/redis/Dockerfile"] = "FROM debian:bookworm-slim\nCOPY --from=dockstack/redis:1.0 /a /b\n"
		}, []string{"redis takes redis"}},
		"another tag": {func(f map[string]string) {
			f["openstack/openstackbase/Dockerfile"] = "FROM dockstack/base:1.1\n"
		}, []string{"openstackbase/Dockerfile:1: base is built as dockstack/base:1.0, not as dockstack/base:1.1"}},
		"no such argument": {func(f map[string]string) {
			f["common/redis/Dockerfile"] = "\nFROM ${REGISTRY}/base:1.0\n"
		}, []string{"redis/Dockerfile:2: ${REGISTRY}/base:1.0: REGISTRY is not declared by an ARG above the first FROM"}},
		"not a Dockerfile": {func(f map[string]string) { f["common/redis/Dockerfile"] = "FORM debian\n" }, []string{
			"redis", "redis/Dockerfile",
		}},
		"an unknown kind": {func(f map[string]string) {
			f["structure.yaml"] = someStructure + "  swift:\n    proxy:\n"
		}, []string{`structure.yaml:13: there is no kind "swift"`}},
		"a kind without a version": {func(f map[string]string) {
			f["structure.yaml"] = strings.Replace(someStructure, "openstack: zed, ", "", 1)
		}, []string{"nova", "nova", "nova", "no version of openstack"}},
		"no registry": {func(f map[string]string) {
			f["structure.yaml"] = strings.Replace(someStructure, "registry: dockstack\n", "", 1)
		}, []string{"structure.yaml: no registry"}},
		"sub-images that are no list": {func(f map[string]string) {
			f["structure.yaml"] = strings.Replace(someStructure, "config: [api]", "config: api", 1)
		}, []string{"config-api/Dockerfile:1: ", "structure.yaml:11: config: write its sub-images as a list"}},
		"no YAML": {func(f map[string]string) { f["structure.yaml"] = "registry: [\n" }, []string{"structure.yaml: yaml: line"}},
		"several at once": {func(f map[string]string) {
			delete(f, "contrail/config-api/Dockerfile")
			f["common/etcd/Dockerfile"] = "FROM scratch\n"
			f["common/redis/Dockerfile"] = "FROM dockstack/bsae:1.0\n"
		}, []string{"etcd/Dockerfile:1", "redis/Dockerfile:1: no folder makes dockstack/bsae:1.0", "structure.yaml:11: config-api has no Dockerfile"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := someImages()
			test.change(files)
			_, problems := loadGraph(folder(t, files), defaults)
			if len(problems) != len(test.want) {
				t.Errorf("%d problems, want %d:\n%v", len(problems), len(test.want), errors.Join(problems...))
			}
			for n, problem := range problems[:min(len(problems), len(test.want))] {
				if !strings.Contains(problem.Error(), test.want[n]) {
					t.Errorf("problem %d: %v\nwant something with %q", n, problem, test.want[n])
				}
			}
		})
	}
}

func TestStructureIsMissing(t *testing.T) {
	if g, problems := loadGraph(t.TempDir(), defaults); g != nil || len(problems) != 1 || !strings.Contains(problems[0].Error(), "structure.yaml") {
		t.Errorf("without structure.yaml: %v", problems)
	}
}
