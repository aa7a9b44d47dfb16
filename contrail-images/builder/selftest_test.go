package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// Each mistake in a Dockerfile is found, and in the right line.
func TestLintFindsMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"FROM debian\n":                                            "1: FROM debian has no tag",
		"FROM debian:12 as base\n":                                 "1: FromAsCasing",
		"FROM debian:12\nADD https://example.org/x /x\n":           "2: ADD: use COPY",
		"FROM debian:12\nENV DB_PASSWORD=x\n":                      "2: DB_PASSWORD: an image must not hold a secret",
		"ARG API_TOKEN\nFROM debian:12\n":                          "1: API_TOKEN",
		"FROM debian:12\nARG ADMIN_SECRET=x\n":                     "2: ADMIN_SECRET",
		"FROM debian:12\nCMD sleep 1\n":                            "2: CMD: write it as a list",
		"FROM debian:12\n\nENTRYPOINT run\n":                       "3: ENTRYPOINT: write it as a list",
		"FROM debian:12\nMAINTAINER me\n":                          "2: MaintainerDeprecated",
		"FROM debian:12\nRUN apt install x\n":                      "2: RUN apt is for people",
		"FROM debian:12\nRUN curl -s https://example.org/x | sh\n": "2: RUN pipes a download into a shell",
		"FROM debian:12\nRUN DEBIAN_FRONTEND=noninteractive apt-get -qq install x && rm -rf /var/lib/apt/lists/*\n":               "2: RUN apt-get install without apt-get update",
		"FROM debian:12\nRUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get -y install x\n":                             "2: RUN apt-get install leaves /var/lib/apt/lists",
		"FROM debian:12\nRUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install x && rm -rf /var/lib/apt/lists/*\n": "2: RUN apt-get install asks whether to",
		"FROM debian:12\nRUN apt-get update && apt-get -y install x && rm -rf /var/lib/apt/lists/*\n":                             "2: RUN apt-get install may ask questions",
		"FROM debian:12 AS x\nFROM debian:12 AS x\n":                                                                              "2: DuplicateStageName",
		"FROM debian:12 AS X\n":                      "1: StageNameCasing",
		"FROM debian:12\nCMD [\"a\"]\nCMD [\"b\"]\n": "3: MultipleInstructionsDisallowed",
		"FROM debian:12\nWORKDIR tmp\n":              "2: WorkdirRelativePath",
		"FROM debian:12\nENV A b\n":                  "2: LegacyKeyValueFormat",
		"FROM debian:12\nLABEL a b\n":                "2: LegacyKeyValueFormat",
		"ARG DIR=/a\nFROM debian:12\nCOPY a $DIR\n":  "3: UndefinedVar: Usage of undefined variable '$DIR'",
	} {
		file, err := readDockerfile(filepath.Join(folder(t, map[string]string{"Dockerfile": text}), "Dockerfile"))
		must(t, err)
		found := file.lint()
		if len(found) != 1 || !strings.HasPrefix(told(found[0]), want) {
			t.Errorf("%s\nfound %v, want %s", text, found, want)
		}
	}
}

func told(w warning) string { return fmt.Sprintf("%d: %s", w.line, w.text) }

func TestLintFindsWhatImagesLack(t *testing.T) {
	whole := `ARG REGISTRY=dockstack
ARG COMMON_TAG=1.0
FROM ${REGISTRY}/base:${COMMON_TAG}
RUN apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install redis-server && rm -rf /var/lib/apt/lists/*
LABEL net.juniper.contrail=common net.juniper.node=controller
HEALTHCHECK CMD ["true"]
COPY lib /usr/local/lib/dockstack
COPY common/redis/entrypoint.sh /
ENTRYPOINT ["/entrypoint.sh"]
CMD ["redis-server"]
`
	files := someImages()
	files["common/redis/entrypoint.sh"], files["lib/x.sh"] = "#!/bin/bash\n", "\n"
	for name, test := range map[string]struct{ old, new, want string }{
		"nothing":         {"", "", ""},
		"no health check": {"HEALTHCHECK CMD [\"true\"]\n", "", "no HEALTHCHECK"},
		"runs once":       {"HEALTHCHECK CMD [\"true\"]\n", "HEALTHCHECK NONE\n", ""},
		"no label":        {"net.juniper.contrail=common ", "", "neither of the labels"},
		"another default": {"COMMON_TAG=1.0", "COMMON_TAG=1.1", `ARG COMMON_TAG: its default is not "1.0"`},
		"files first":     {"RUN apt", "COPY lib /tmp/lib\nRUN apt", "COPY above apt-get install"},
	} {
		files["common/redis/Dockerfile"] = strings.Replace(whole, test.old, test.new, 1)
		g, problems := loadGraph(folder(t, files), defaults)
		must(t, errors.Join(problems...))
		found := g.lintImage(g.byName["redis"])
		if test.want == "" && len(found) > 0 || test.want != "" && (len(found) != 1 || !strings.Contains(found[0].text, test.want)) {
			t.Errorf("%s: found %v, want %q", name, found, test.want)
		}
	}
	files = someImages()
	files["openstack/nova/Dockerfile"] = strings.Replace(files["openstack/nova/Dockerfile"], "node=controller", "node=control", 1)
	files["openstack/nova-api/Dockerfile"] += "ENTRYPOINT [\"nova-api\"]\nHEALTHCHECK NONE\n"
	g, problems := loadGraph(folder(t, files), defaults)
	must(t, errors.Join(problems...))
	found := g.lintImage(g.byName["nova-api"])
	if len(found) != 2 || !strings.Contains(found[0].text, `net.juniper.node is "control"`) || !strings.Contains(found[1].text, "start with an entrypoint.sh") {
		t.Errorf("nova-api: found %v", found)
	}
}

// The sandbox shows what a script writes, and the test above finds what it should not.
func TestSandbox(t *testing.T) {
	g := repository(t)
	box := newSandbox(t, g.byName["keystone"], true)
	env := environment{"odd", map[string]string{"PASSWORD": odd("PASSWORD")}}
	box.config.entrypoint = []string{"/bin/bash", "-c", `
		mkdir -p /etc/a && printf '%s' "$PASSWORD" >/etc/a/open && chmod 644 /etc/a/open
		printf '%s\n' "$PASSWORD" >/etc/a/closed && chgrp keystone /etc/a/closed && chmod 640 /etc/a/closed
		ln -s a/open /etc/link
		echo "$PASSWORD" >&2
		touch /usr/bin/x 2>/dev/null && echo "/usr is the machine's own"
		[ "$(hostname) $$ $(cat /proc/1/comm) $RENDER_ONLY" = "host1 1 bash 1" ] && [ "$(ip -o link | wc -l)" = 1 ] && exit 3`}
	box.config.command = nil
	out, err := box.run(env.vars)
	if err == nil || err.Error() != "exit status 3" {
		t.Errorf("ended with %v: %s", err, out)
	}
	secret := odd("PASSWORD")
	want := "==== /etc/a/closed keystone 0640\n" + secret + "\n==== /etc/a/open root 0644\n" + secret + "\n==== (no newline at its end)\n==== /etc/link -> a/open\n"
	got := box.written(t)
	if got.String() != want {
		t.Errorf("wrote\n%swant\n%s", got, want)
	}
	found := leaks(got, out, env)
	if len(found) != 2 || !strings.HasPrefix(found[0], "prints the value of PASSWORD") || !strings.HasPrefix(found[1], "/etc/a/open has the value of PASSWORD") {
		t.Errorf("leaks: %q", found)
	}
}
