package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

var update = flag.Bool("update", false, "write what the entrypoints render now as what they should render")

const images = ".." // contrail-images, seen from here

// repository loads the graph of the images that there are, as they are built by default.
func repository(t *testing.T) *graph {
	t.Helper()
	g, problems := loadGraph(images, defaults)
	if g == nil {
		t.Fatal(problems)
	}
	return g // TestStructure speaks of the problems
}

func TestStructure(t *testing.T) {
	_, problems := loadGraph(images, defaults)
	for _, problem := range problems {
		t.Error(problem)
	}
}

// odd is a value with what matters in configuration files: blanks and quotes, also around it, and signs that mean
// something to a shell, to INI files, to YAML, to URLs, to SQL.
func odd(name string) string { return ` "q'u"o$t\$%e&s p\c;#` + marker(name) + `" ` }

// environment is what entrypoints render with.
type environment struct {
	name string
	vars map[string]string
}

// marker stands in the odd value of a secret, in a form that no encoding changes.
func marker(name string) string { return "Zz" + strings.ReplaceAll(name, "_", "") + "zZ" }

func environments(t *testing.T, declared []variable) []environment {
	t.Helper()
	read := func(path string) map[string]string {
		vars, err := dotenv.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		return vars
	}
	usual, unlikely := read("../../compose/common.env"), read("testdata/odd.env")
	for _, v := range declared {
		if v.secret || secretNames.MatchString(v.name) {
			unlikely[v.name] = odd(v.name)
		}
	}
	return []environment{{"usual", usual}, {"odd", unlikely}}
}

// TestRender compares the files that every entrypoint writes with those that it should write. A thin image must write
// what the one under it writes, unless it has files of its own to be compared with.
func TestRender(t *testing.T) {
	for _, i := range repository(t).images {
		if len(i.config().entrypoint) == 0 || !isEntrypoint(i.config().entrypoint[0]) {
			continue
		}
		t.Run(i.folder, func(t *testing.T) {
			if !*update { // a thin image comes after the one that it is compared with
				t.Parallel()
			}
			for _, env := range environments(t, declared(t, i)) {
				t.Run(env.name, func(t *testing.T) { compareRendering(t, i, env) })
			}
			if i.parent == nil || i.script(images) != i.parent.script(images) {
				missingSecrets(t, i)
			}
		})
	}
}

// declared are the variables of an image's entrypoint and of what it sources.
func declared(t *testing.T, i *image) []variable {
	t.Helper()
	var all []variable
	for _, s := range scripts(t, i) {
		all = append(all, s.declares...)
	}
	return all
}

func scripts(t *testing.T, i *image) []*script {
	t.Helper()
	all, err := i.scripts(images)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func compareRendering(t *testing.T, i *image, env environment) {
	t.Helper()
	box := newSandbox(t, i, env.name == "usual")
	out, err := box.run(env.vars)
	if err != nil {
		t.Fatalf("%s with RENDER_ONLY=1: %v: %s", i.script(images), err, out)
	}
	got := box.written(t)
	text := got.String()
	golden := filepath.Join(images, i.folder, "testdata", "render-"+env.name+".txt")
	if thin := i.parent != nil && i.script(images) == i.parent.script(images); thin {
		under, err := os.ReadFile(filepath.Join(images, i.parent.folder, "testdata", "render-"+env.name+".txt"))
		if err == nil && string(under) == text {
			if _, err := os.Stat(golden); err == nil && !*update {
				t.Errorf("%s is the same as that of %s: remove it", golden, i.parent.name)
			} else if err == nil {
				must(t, os.Remove(golden))
			}
			return
		}
	}
	if *update {
		must(t, os.MkdirAll(filepath.Dir(golden), 0o755))
		must(t, os.WriteFile(golden, []byte(text), 0o644))
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Errorf("%v: look at what the entrypoint writes, and keep it by: go test ./contrail-images/builder -run 'TestRender/%s' -update",
			err, i.folder)
	} else if text != string(want) {
		t.Errorf("renders other files than %s has (to accept them: go test ./contrail-images/builder -run 'TestRender/%s' -update):\n%s",
			golden, i.folder, difference(string(want), text))
	}
	if env.name == "odd" {
		for _, leak := range leaks(got, out, env) {
			t.Error(leak)
		}
	}
}

// leaks finds secrets where all may read them.
func leaks(files rendering, printed string, env environment) []string {
	var found []string
	for name := range env.vars {
		mark := marker(name)
		if strings.Contains(printed, mark) {
			found = append(found, fmt.Sprintf("prints the value of %s: %s", name, printed))
		}
		for _, file := range files {
			if strings.Contains(file.text, mark) && file.mode&0o007 != 0 {
				found = append(found, fmt.Sprintf("%s has the value of %s and the mode %04o: everybody can read it", file.path, name, file.mode))
			}
			if strings.Contains(file.path, mark) || strings.Contains(file.target, mark) {
				found = append(found, fmt.Sprintf("%s: the value of %s is in a name", file.path, name))
			}
		}
	}
	return found
}

// missingSecrets leaves out one secret at a time: the entrypoint has to end, and to say which.
func missingSecrets(t *testing.T, i *image) {
	t.Helper()
	env := environments(t, nil)[0]
	for _, v := range declared(t, i) {
		if !v.secret {
			continue
		}
		less := map[string]string{}
		for key, value := range env.vars {
			if key != v.name {
				less[key] = value
			}
		}
		out, err := newSandbox(t, i, true).run(less)
		if err == nil || !strings.Contains(out, v.name) {
			t.Errorf("without %s: %v, and it says %q: want a failure that names the variable", v.name, err, out)
		}
	}
}

// difference shows the lines that two texts don't share, in a window around the first.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	from := 0
	for from < len(w) && from < len(g) && w[from] == g[from] {
		from++
	}
	w, g = w[from:], g[from:]
	for len(w) > 0 && len(g) > 0 && w[len(w)-1] == g[len(g)-1] {
		w, g = w[:len(w)-1], g[:len(g)-1]
	}
	var text strings.Builder
	fmt.Fprintf(&text, "from line %d on\n", from+1)
	for _, line := range w[:min(len(w), 30)] {
		fmt.Fprintf(&text, "- %s\n", line)
	}
	for _, line := range g[:min(len(g), 30)] {
		fmt.Fprintf(&text, "+ %s\n", line)
	}
	return text.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rendering is every file that an entrypoint wrote.
type rendering []renderedFile

type renderedFile struct {
	path, group, text string
	mode              os.FileMode
	target            string // of a symbolic link
}

func (r rendering) String() string {
	slices.SortFunc(r, func(a, b renderedFile) int { return cmp.Compare(a.path, b.path) })
	var text strings.Builder
	for _, file := range r {
		if file.target != "" {
			fmt.Fprintf(&text, "==== %s -> %s\n", file.path, file.target)
			continue
		}
		fmt.Fprintf(&text, "==== %s %s %04o\n%s", file.path, file.group, file.mode, file.text)
		if !strings.HasSuffix(file.text, "\n") {
			text.WriteString("\n==== (no newline at its end)\n")
		}
	}
	return text.String()
}
