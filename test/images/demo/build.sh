#!/bin/sh
# Builds the demo's images with the engine that DOCKER_HOST names, and saves them. usage: build.sh FILE.tar
set -eu
out=$1
cd "$(dirname "$0")/../../.."
mkdir -p build/cache
log=build/cache/demo-images.log

base=$(sed -n 's/^ARG DEBIAN=//p' test/images/demo/Dockerfile)
test/engine/base-image.sh bookworm "$base"
images=
for name in mariadb rabbitmq memcached redis; do
	echo "building the demo's image of $name"
	docker build --network=host --target "$name" -t "dockstack-demo/$name" test/images/demo >"$log" 2>&1 ||
		{ tail -n 40 "$log" >&2; exit 1; }
	images="$images dockstack-demo/$name"
done
# shellcheck disable=SC2086 # a list of words
docker save -o "$out.new" $images
mv "$out.new" "$out"
