package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// keyImages are an image with a script of its own, one that shares it, and one with another script.
func keyImages() map[string]string {
	start := "FROM scratch\nCOPY lib /usr/local/lib/dockstack\nCOPY common/%/entrypoint.sh /\nENTRYPOINT [\"/entrypoint.sh\"]\n"
	return map[string]string{
		"structure.yaml":             "registry: d\nversions: {common: \"1\"}\ncontainers:\n  common:\n    one: [more]\n    two:\n",
		"common/one/Dockerfile":      strings.ReplaceAll(start, "%", "one"),
		"common/one-more/Dockerfile": "FROM d/one:1\n",
		"common/two/Dockerfile":      strings.ReplaceAll(start, "%", "two"),
		"lib/all.sh":                 "secret PASSWORD 'what | opens'\nsetting SERVER \"$PASSWORD.org\" \"the server's name\"\n",
		"common/one/entrypoint.sh":   "#!/bin/bash\n. /usr/local/lib/dockstack/all.sh\nsetting COLOR '' 'of the page'\nsetting COOKIE \"$(date)\" 'of the browser'\n",
		"common/two/entrypoint.sh":   "#!/bin/bash\n. /usr/local/lib/dockstack/all.sh\nsetting COLOR blue 'of the door'\n",
	}
}

func TestDumpConfigKeys(t *testing.T) {
	root := folder(t, keyImages())
	for form, want := range map[string]string{
		"table": `VARIABLE  DEFAULT        MEANING            READ BY
COLOR     empty          of the page        one, one-more
COLOR     blue           of the door        two
COOKIE    computed       of the browser     one, one-more
PASSWORD  must be set    what | opens       one, one-more, two
SERVER    $PASSWORD.org  the server's name  one, one-more, two
`,
		"md": `| variable | default | meaning | read by |
|---|---|---|---|
| ` + "`COLOR`" + ` | empty | of the page | one, one-more |
| ` + "`COLOR` | `blue`" + ` | of the door | two |
| ` + "`COOKIE`" + ` | computed | of the browser | one, one-more |
| ` + "`PASSWORD`" + ` | must be set | what \| opens | one, one-more, two |
| ` + "`SERVER` | `$PASSWORD.org`" + ` | the server's name | one, one-more, two |
`,
		"env": `# Variables of the images. Lines behind a # show defaults; $NAME there is the value of another variable.

# of the page (one, one-more)
#COLOR=

# of the browser (one, one-more)
#COOKIE=

# what | opens (one, one-more, two)
PASSWORD=

# the server's name (one, one-more, two)
#SERVER=$PASSWORD.org
`,
	} {
		var out bytes.Buffer
		if status := run(t.Context(), []string{"dump-config-keys", "-o", form, "-root", root}, &out, &out); status != 0 || out.String() != want {
			t.Errorf("%s: ended with %d and printed\n%swant\n%s", form, status, &out, want)
		}
	}
}

func TestScriptsThatCannotBeRead(t *testing.T) {
	for name, test := range map[string]struct{ file, text, want string }{
		"no meaning":         {"common/two/entrypoint.sh", "setting COLOR blue\n", "two/entrypoint.sh:1: write it as: setting NAME"},
		"a name in letters":  {"common/two/entrypoint.sh", "\nsetting color blue 'of the door'\n", "two/entrypoint.sh:2: write it as"},
		"a secret's default": {"lib/all.sh", "secret PASSWORD 1234 'what opens'\n", "lib/all.sh:1: write it as"},
		"no shell":           {"common/two/entrypoint.sh", "if true; then\n", "two/entrypoint.sh:1:1"},
		"no such file":       {"common/two/entrypoint.sh", ". /usr/local/lib/dockstack/none.sh\n", "no COPY in the Dockerfile of two puts there"},
	} {
		files := keyImages()
		files[test.file] = test.text
		g, problems := loadGraph(folder(t, files), defaults)
		must(t, errors.Join(problems...))
		if _, err := g.keys(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

func TestWhatAScriptReadsAndSets(t *testing.T) {
	root := folder(t, map[string]string{"s.sh": `
: "$PLAIN" "${BRACED:-x}" "${#LENGTH}" ${NESTED:+"$INNER"} "$(echo "$DEEP")" 'no $QUOTED' "$lower" "$1"
ASSIGNED=1 PREFIXED=2 cmd; local LOCAL=3; for LOOP in a; do :; done
read -r READ; printf -v PRINTED x; mapfile -t MAPPED; coproc JOB { :; }
cat <<-EOF
	$HERE
EOF
cat <<-'EOF'
	$NOTHERE
EOF
`})
	s, err := readScript(root + "/s.sh")
	must(t, err)
	for name := range strings.FieldsSeq("PLAIN BRACED LENGTH NESTED INNER DEEP HERE") {
		if s.reads[name] == 0 {
			t.Errorf("%s is read", name)
		}
		delete(s.reads, name)
	}
	if len(s.reads) > 0 {
		t.Errorf("not read: %v", s.reads)
	}
	for name := range strings.FieldsSeq("ASSIGNED PREFIXED LOCAL LOOP READ PRINTED MAPPED JOB JOB_PID") {
		if !s.sets[name] {
			t.Errorf("%s is set", name)
		}
	}
}
