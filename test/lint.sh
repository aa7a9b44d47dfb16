#!/bin/bash
# Runs every linter and ends with a failure if any complained. $TOOLS is where `make lint` built them.
# shellcheck disable=SC2317 # functions are called through check
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
failed=0
unchecked=77

check() {
	local name=$1
	shift
	"$@"
	case $? in
	0) echo "ok    $name" ;;
	"$unchecked") ;; # it has said why
	*)
		echo "FAIL  $name"
		failed=1
		;;
	esac
}

unformatted() {
	local files
	files=$(git ls-files -z -- '*.go' | xargs -0r "$TOOLS/gofumpt" -l)
	[ -z "$files" ] || { printf 'not formatted, run gofumpt -w on:\n%s\n' "$files"; return 1; }
}

shell_scripts() {
	{
		git grep -lIzE '^#!.*[/ ](ba)?sh$'
		git ls-files -z -- 'contrail-images/lib/*.sh'
	} | xargs -0r shellcheck -x
}

# govulncheck reads its list of vulnerabilities from the network: a machine without it can't be told anything.
vulnerable() {
	local out status
	out=$("$TOOLS/govulncheck" ./... 2>&1)
	status=$?
	if [ "$status" != 0 ] && grep -qE 'fetching vulnerabilities|no such host|connection refused|i/o timeout' <<<"$out"; then
		echo "----  govulncheck: not checked, the vulnerability database is out of reach: $(grep -m1 -E 'fetching|dial' <<<"$out")"
		return "$unchecked"
	fi
	[ "$status" = 0 ] || echo "$out"
	return "$status"
}

# hadolint is written in Haskell, and neither Debian nor the Go module proxy has it.
dockerfiles() {
	if ! command -v hadolint >/dev/null; then
		echo "----  hadolint: not checked, it is not on PATH; it can be had from its releases page"
		return "$unchecked"
	fi
	git ls-files -z -- '*Dockerfile*' ':!.dockerignore' | xargs -0r hadolint
}

check golangci-lint "$TOOLS/golangci-lint" run ./...
check gofumpt unformatted
check shellcheck shell_scripts
check govulncheck vulnerable
check hadolint dockerfiles
exit "$failed"
