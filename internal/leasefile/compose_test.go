package leasefile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// project writes a compose file, and others beside it, into a folder of a name.
func project(t *testing.T, folder string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), folder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "compose.yml")
}

// held are the names and addresses that a compose file gives.
func reserved(t *testing.T, path string) []string {
	t.Helper()
	r, err := Read(path, read(t, path), "")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, v := range r.Reservations {
		out = append(out, v.Name+" "+v.Address.String())
	}
	return out
}

const web = "services:\n  web:\n    image: x\n    networks:\n      n:\n        ipv4_address: 10.0.0.2\nnetworks: {n: {}}\n"

func TestProjectsAreNamedAsComposeDoes(t *testing.T) {
	for what, tc := range map[string]struct {
		folder, text, env string
		want              string
	}{
		"by the folder":        {"Lab.Site_1", web, "", "labsite_1-web-1"},
		"by the file":          {"lab", "name: mine\n" + web, "", "mine-web-1"},
		"by a variable":        {"lab", "name: ${WHO:-nobody}\n" + web, "", "nobody-web-1"},
		"by the environment":   {"lab", "name: mine\n" + web, "theirs", "theirs-web-1"},
		"by container_name":    {"lab", strings.Replace(web, "image: x", "container_name: My.Web", 1), "", "My.Web"},
		"a folder of no words": {"...", web, "", "project-web-1"},
	} {
		t.Setenv("COMPOSE_PROJECT_NAME", tc.env)
		got := reserved(t, project(t, tc.folder, map[string]string{"compose.yml": tc.text}))
		if !slices.Equal(got, []string{tc.want + " 10.0.0.2"}) {
			t.Errorf("%s: %v, want %s", what, got, tc.want)
		}
	}
}

func TestVariablesComeFromTheEnvironmentThenDotEnv(t *testing.T) {
	text := strings.Replace(web, "10.0.0.2", "${NET:?which net}.${LAST:-9}", 1)
	path := project(t, "lab", map[string]string{"compose.yml": text, ".env": "# x\nNET=10.0.0\nLAST='7'\n"})
	if got := reserved(t, path); !slices.Equal(got, []string{"lab-web-1 10.0.0.7"}) {
		t.Errorf("by .env: %v", got)
	}
	t.Setenv("LAST", "8")
	if got := reserved(t, path); !slices.Equal(got, []string{"lab-web-1 10.0.0.8"}) {
		t.Errorf("by the environment: %v", got)
	}
	path = project(t, "lab", map[string]string{"compose.yml": text})
	if _, err := Read(path, []byte(text), ""); err == nil || !strings.Contains(err.Error(), "which net") {
		t.Errorf("a variable that has to be set is not: %v", err)
	}
	path = project(t, "lab", map[string]string{"compose.yml": text, ".env": "NET=\"10.0\n"})
	if _, err := Read(path, []byte(text), ""); err == nil || !strings.Contains(err.Error(), ".env") {
		t.Errorf("a broken .env: %v", err)
	}
}

func TestOtherFilesOfTheProject(t *testing.T) {
	path := project(t, "lab", map[string]string{
		"compose.yml": "include: [more.yml]\nservices:\n  web:\n    extends: {file: base.yml, service: base}\nnetworks: {n: {}}\n",
		"base.yml":    "services:\n  base:\n    image: x\n    networks:\n      n: {ipv4_address: 10.0.0.2}\nnetworks: {n: {}}\n",
		"more.yml":    "services:\n  db:\n    image: x\n    networks:\n      m: {ipv4_address: 10.0.1.2}\nnetworks: {m: {}}\n",
	})
	got := reserved(t, path)
	slices.Sort(got)
	if !slices.Equal(got, []string{"lab-db-1 10.0.1.2", "lab-web-1 10.0.0.2"}) {
		t.Errorf("got %v", got)
	}
}

func TestOneReplicaMayHaveAFixedAddress(t *testing.T) {
	for _, scale := range []string{"scale: 1", "deploy: {replicas: 1}", "deploy: {replicas: 0}"} {
		path := project(t, "lab", map[string]string{"compose.yml": strings.Replace(web, "image: x", scale, 1)})
		if got := reserved(t, path); len(got) != 1 {
			t.Errorf("%s: %v", scale, got)
		}
	}
}

// TestOldNotations: what files of ten years ago have.
func TestOldNotations(t *testing.T) {
	path := project(t, "lab", map[string]string{"compose.yml": `version: '2'
networks:
  default:
    external:
      name: internal
services:
  web:
    image: x
    env_file: nosuch.env
    networks:
      default:
        ipv4_address: 10.0.0.2
`})
	if got := reserved(t, path); !slices.Equal(got, []string{"lab-web-1 10.0.0.2"}) {
		t.Errorf("got %v", got)
	}
}
