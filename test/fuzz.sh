#!/bin/bash
# Runs every fuzz target of the project, one after another; inputs are made smaller for a few tries only, not a minute each. usage: fuzz.sh TIME, e.g. fuzz.sh 10s
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
count=0

while IFS=: read -r file name; do
	package=./$(dirname "$file")
	echo "== $package $name"
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 5x "$package"
	count=$((count + 1))
done < <(git grep -oE '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | sed 's/:func /:/')

echo "$count fuzz targets ran for $time each"
[ "$count" -gt 0 ] || { echo "no fuzz target was found" >&2; exit 1; }
