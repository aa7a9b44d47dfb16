#!/bin/sh
# Pushes the plugin to a registry, with the engine that DOCKER_HOST names.
# usage: push.sh DIRECTORY REF
set -eu
dir=$1 ref=$2
docker plugin rm -f "$ref" >/dev/null 2>&1 || true # what an earlier push left
docker plugin create "$ref" "$dir" >/dev/null
trap 'docker plugin rm -f "$ref" >/dev/null' EXIT
docker plugin push "$ref"
