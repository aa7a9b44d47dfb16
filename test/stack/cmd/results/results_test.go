package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const aRun = `go: downloading something
{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestSlice"}
{"Action":"output","Package":"p","Test":"TestSlice/down-and-up","Output":"    disruption.go:9: storm \"down and up\": took 31.2 s, healthy after 12.0 s, token never, image after 15.5 s, virtual machines after 60.1 s; 0 of 20 addresses changed\n"}
{"Action":"fail","Package":"p","Test":"TestSlice/down-and-up","Elapsed":58.1}
{"Action":"output","Package":"p","Test":"TestSlice/reboot","Output":"    disruption.go:9: storm \"reboot\": took 3.0 s, healthy after 12.0 s, token after 14.2 s, image after 15.5 s; 1 of 20 addresses changed\n"}
{"Action":"pass","Package":"p","Test":"TestSlice/reboot","Elapsed":20}
{"Action":"skip","Package":"p","Test":"TestOther","Elapsed":0}
{"Action":"fail","Package":"p","Elapsed":59}
`

func TestPage(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	var shown bytes.Buffer
	ok, err := run(strings.NewReader(aRun), &shown, page, "It was made by hand.")
	if err != nil || ok {
		t.Errorf("a run that failed: %t, %v", ok, err)
	}
	if !strings.HasPrefix(shown.String(), "go: downloading something\n    disruption.go:9: storm") {
		t.Errorf("it showed %q", shown.String())
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"3 tests and parts of tests, 1 failed.\nIt was made by hand.\n", "### TestSlice\n", " GB, Linux ",
		"| down and up | 31.2 s | 12.0 s | never | 15.5 s | 60.1 s | 0 of 20 |\n| reboot | 3.0 s | 12.0 s | 14.2 s | 15.5 s |  | 1 of 20 |\n",
		"| TestSlice/down-and-up | fail | 58.1 |\n| TestSlice/reboot | pass | 20.0 |\n| TestOther | skip | 0.0 |\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if ok, err := run(strings.NewReader(strings.ReplaceAll(aRun, `"fail"`, `"pass"`)), &shown, page, "It was made by hand."); err != nil || !ok {
		t.Errorf("a run that passed: %t, %v", ok, err)
	}
	if _, err := run(strings.NewReader(aRun), &shown, filepath.Join(page, "no"), ""); err == nil {
		t.Error("a page that can't be written is no error")
	}
}
