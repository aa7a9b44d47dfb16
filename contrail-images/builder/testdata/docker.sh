#!/bin/bash
# Stands in for the docker command in tests: it keeps what it was called with in $FAKE/calls and what it built in
# $FAKE/built, one file of labels an image. Files $FAKE/fail-NAME, slow-NAME and lose-labels-NAME make it misbehave.
set -eu
[ "$1" = image ] || printf '%s\n' "docker $*" >>"$FAKE/calls"
case $1 in
image)
	if [ "$2" = rm ]; then
		shift 2
		for ref; do rm "$FAKE/built/${ref//\//@}"; done
		exit
	fi
	shift 2
	status=0 comma=
	printf '['
	for ref; do
		if [ -e "$FAKE/built/${ref//\//@}" ]; then
			printf '%s{"Size": 12345678, "RepoTags": ["%s"], "Config": {"Labels": %s}}' "$comma" "$ref" "$(<"$FAKE/built/${ref//\//@}")"
			comma=,
		else
			status=1
		fi
	done
	printf ']\n'
	exit $status
	;;
build)
	while [ "$1" != -t ]; do shift; done
	ref=$2 name=${2##*/}
	name=${name%:*}
	if [ -e "$FAKE/slow-$name" ]; then
		trap 'echo interrupted >>"$FAKE/calls"; exit 130' INT
		touch "$FAKE/began-$name"
		for _ in {1..200}; do sleep 0.1; done
	fi
	if [ -e "$FAKE/fail-$name" ]; then
		echo "E: Unable to locate package $name"
		exit 100
	fi
	if [ -e "$FAKE/lose-labels-$name" ]; then echo '{}'; else cat "$FAKE/labels-$name"; fi >"$FAKE/built/${ref//\//@}"
	;;
push)
	[ -e "$FAKE/built/${2//\//@}" ] || { echo "An image does not exist locally with the tag: $2"; exit 1; }
	;;
esac
