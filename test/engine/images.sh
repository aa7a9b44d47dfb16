#!/bin/sh
# Builds images of the service stacks with the engine that DOCKER_HOST names: those that are named, with what they stand
# on, else all that are made of Debian's packages. usage: images.sh [NAME...]
set -eu
cd "$(dirname "$0")/../.."

base=$(sed -n 's/^ARG DEBIAN=//p' contrail-images/common/base/Dockerfile)
test/engine/base-image.sh bookworm "$base"
if [ $# = 0 ]; then
	set -- -b -s -t common,openstack
else
	names=$*
	set -- -under -c "$(echo "$names" | tr ' ' ',')"
fi
# The builds have the machine's network: a private engine has no bridge to give them.
exec go run -buildvcs=false ./contrail-images/builder "$@" -network host
