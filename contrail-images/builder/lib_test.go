package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// library runs a script that has sourced files of lib/, with commands of its own before all others. It returns what the
// script printed, with its log.
func library(t *testing.T, commands map[string]string, text string, files ...string) (string, error) {
	t.Helper()
	bin, all := t.TempDir(), "set -euo pipefail\nshopt -s inherit_errexit\n"
	for name, command := range commands {
		must(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/bash\n"+command+"\n"), 0o755))
	}
	for _, file := range append([]string{"entrypoint.sh"}, files...) {
		source, err := os.ReadFile(filepath.Join(images, "lib", file))
		must(t, err)
		// Those that it sources are here already.
		all += strings.ReplaceAll(string(source), "\n. "+installed, "\n: ")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/bash", "-c", all+text)
	// Whoever doesn't end takes along what it has started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "SCRATCH="+bin, "ADMIN_PASSWORD=a", "MYSQL_ROOT_PASSWORD=b")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// At a start the plugin may be late: on a network of dockstack its DNS is waited for, also where there are others.
func TestDNSIsWaitedFor(t *testing.T) {
	late := `
		touch "$SCRATCH/asked" && [ "$(wc -l <"$SCRATCH/asked")" -ge 6 ] && [ "$3" = @10.0.0.1 ] &&
			echo ";; flags: qr aa rd ; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0" && sleep 0.1 && echo more
		echo >>"$SCRATCH/asked"`
	for networks, want := range map[string]string{
		`echo 10.0.0.2 10.0.0.1 dockstack; sleep 0.1; echo "172.18.0.2 172.18.0.1 "; true`: "found 10.0.0.1\n",
		`echo "172.18.0.2 172.18.0.1 "`: "found \n",
	} {
		out, err := library(t, map[string]string{"drill": late}, `
			networks() { `+networks+`; }
			SECONDS=0
			pause() { SECONDS=$((SECONDS + 5)); }
			find_dns "set it"
			echo "found $dns_server"`, "dns.sh")
		if err != nil || !strings.HasSuffix(out, want) || strings.Contains(out, "waiting for dockstack's DNS") != strings.Contains(networks, "dockstack") {
			t.Errorf("networks %s: %v, %q; want %q", networks, err, out, want)
		}
	}
}

// Whoever waits for a network, a name or DNS ends at once when told to: here, once it has asked for it.
func TestWaitsEndOnSIGTERM(t *testing.T) {
	for what, wait := range map[string]string{
		"an address":   `find_address eth0`,
		"a member":     `find_member "db1 db2"`,
		"a port":       `wait_for nowhere 1`,
		"DNS":          `find_dns "set it"`,
		"a name's DNS": `find_name vip1`,
	} {
		nothing := `touch "$SCRATCH/asked"; exit 1`
		out, err := library(t, map[string]string{"ip": nothing, "getent": nothing, "timeout": nothing}, `
			networks() { echo 10.0.0.2 10.0.0.1 dockstack; }
			(until [ -e "$SCRATCH/asked" ]; do sleep 0.01; done; kill $$) &
			`+wait, "dns.sh")
		if ended, ok := errors.AsType[*exec.ExitError](err); !ok || ended.ExitCode() != 143 {
			t.Errorf("waiting for %s ended with %v, want exit code 143: %s", what, err, out)
		}
	}
}

// grep -q ends before ss has said everything, and pipefail takes that for a failure.
func TestConnectedWithManyConnections(t *testing.T) {
	bin := t.TempDir()
	for name, text := range map[string]string{
		"setpriv": `while [ "$1" != -- ]; do shift; done; shift; exec "$@"`,
		"ss":      `for _ in {1..20000}; do echo '0 0 10.0.0.3:40000 10.0.0.2:5672 users:(("nova",pid=7,fd=9))'; done`,
	} {
		must(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/bash\n"+text+"\n"), 0o755))
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	check := filepath.Join(images, "lib", "connected")
	if out, err := exec.CommandContext(t.Context(), check, "nova").CombinedOutput(); err != nil {
		t.Errorf("connected 20,000 times: %v: %s", err, out)
	}
	must(t, os.WriteFile(filepath.Join(bin, "ss"), []byte("#!/bin/bash\n"), 0o755))
	if out, err := exec.CommandContext(t.Context(), check, "nova").CombinedOutput(); err == nil || !strings.Contains(string(out), "no process") {
		t.Errorf("not connected: %v: %s", err, out)
	}
}

// What another replica sets up is waited for with a word about it, and done by nobody twice.
func TestOnceWaitsForTheLock(t *testing.T) {
	server := `while read -r line; do
		case $line in
		*GET_LOCK*) echo >>"$SCRATCH/tries"; if [ "$(wc -l <"$SCRATCH/tries")" = 3 ]; then echo 1; else echo 0; fi ;;
		esac
	done`
	out, err := library(t, map[string]string{"mariadb": server}, `
		wait_for_sql() { :; }
		sql() { if [ -e "$SCRATCH/tries" ]; then cat "$SCRATCH/mark"; else echo; fi; }
		printf 'content\n%s\n' "$MYSQL_ROOT_PASSWORD" | sha256sum | cut -d' ' -f1 >"$SCRATCH/mark"
		once nova content false
		echo "after $(wc -l <"$SCRATCH/tries") tries"`, "openstack.sh")
	if err != nil || strings.Count(out, "waiting for another replica that sets nova up") != 2 || !strings.HasSuffix(out, "after 3 tries\n") {
		t.Errorf("%v: %s", err, out)
	}
	out, err = library(t, map[string]string{"mariadb": "read -r _"}, `
		wait_for_sql() { :; }
		sql() { echo; }
		once nova content false`, "openstack.sh")
	if err == nil || !strings.Contains(out, "the connection to MariaDB on mariadb broke") {
		t.Errorf("a connection that breaks: %v: %s", err, out)
	}
}

// A Keystone that takes a call and never answers it is asked again.
func TestKeystoneThatNeverAnswers(t *testing.T) {
	calls := `
		printf '%s\n' "$*" >>"$SCRATCH/calls"
		[[ $* = *--connect-timeout\ 10\ --max-time\ 60* ]] || exit 1
		[ "$(wc -l <"$SCRATCH/calls")" -gt 1 ] || { echo "curl: (28) Operation timed out" >&2; printf 000; exit 28; }
		printf 200`
	out, err := library(t, map[string]string{"curl": calls}, `
		keystone_token=x
		pause() { :; }
		keystone GET users
		wc -l <"$SCRATCH/calls"`, "openstack.sh")
	if err != nil || !strings.Contains(out, "did not do GET users: no answer; asking again") || !strings.HasSuffix(out, "2\n") {
		t.Errorf("%v: %s", err, out)
	}
}
