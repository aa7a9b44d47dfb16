#!/bin/sh
# Builds the plugin's image through the Dockerfile and unpacks it, with the engine that DOCKER_HOST names.
# usage: plugin.sh DIRECTORY
set -eu
out=$1
cd "$(dirname "$0")/../.."
image=dockstack-rootfs:build

base=$(sed -n 's/^ARG DEBIAN=//p' Dockerfile)
test/engine/base-image.sh trixie "$base"
# The build has the machine's network: a private engine has no bridge to give it.
echo "building the plugin's root file system (about a minute the first time)"
mkdir -p build/cache
docker build --network=host -t "$image" . >build/cache/plugin.log 2>&1 ||
	{ tail -n 40 build/cache/plugin.log >&2; exit 1; }

mkdir -p "$out"
rm -rf "$out/rootfs.new"
mkdir "$out/rootfs.new"
container=$(docker create --network=none "$image")
trap 'docker rm -f "$container" >/dev/null' EXIT
docker export "$container" | tar -x --numeric-owner -C "$out/rootfs.new"
rm -f "$out/rootfs.new/.dockerenv"
rm -rf "$out/rootfs"
mv "$out/rootfs.new" "$out/rootfs"
cp config.json "$out/config.json"
du -sh "$out/rootfs"
