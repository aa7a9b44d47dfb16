#!/bin/sh
# Builds images of the stacks with the engine that DOCKER_HOST names, and brings them to where lab hosts find them.
# usage: images.sh slice [NAME...] | full
set -eu
cd "$(dirname "$0")/../.."
case $1 in
slice)
	shift
	set -- mariadb memcached rabbitmq redis pause keystone glance-api openstackclient "$@"
	;;
full) set -- ;;
*)
	echo "images.sh: say slice or full" >&2
	exit 2
	;;
esac
test/engine/images.sh "$@"
exec go run -buildvcs=false ./test/stack/cmd/stack images
