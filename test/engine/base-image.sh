#!/bin/sh
# Makes sure that the engine has a Debian base image: its own copy, else the registry's, else one made here with
# debootstrap, which needs no registry and takes the package mirror from this machine's own settings. These may be secrets:
# such an image has a label by which contrail-images/builder pushes nothing that stands on it.
# usage: base-image.sh SUITE NAME, e.g. base-image.sh trixie debian:trixie-slim
set -eu
suite=$1 name=$2
cd "$(dirname "$0")/../.."
tar=build/cache/debian-$suite.tar

if docker image inspect "$name" >/dev/null 2>&1; then
	exit 0
fi
if [ ! -e "$tar" ]; then
	if timeout 60 docker pull -q "$name" 2>/dev/null; then
		exit 0
	fi
	echo "no registry gives $name: making it with debootstrap"
	mkdir -p build/cache
	root=$(mktemp -d build/cache/debootstrap.XXXXXX)
	trap 'rm -rf "$root" "$tar.new"' EXIT

	# The first mirror of this machine serves the suite as well; its sources may be in the old or in the new form.
	# shellcheck disable=SC2016 # apt-get expands this itself
	sites=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null) || sites=
	mirror=$(echo "$sites" | grep -m1 -E 'debian/?$') || mirror=http://deb.debian.org/debian
	include=
	case $mirror in https:*) include=--include=ca-certificates ;; esac
	# A mirror may fail once: a second try begins anew.
	tries=2
	# shellcheck disable=SC2086 # empty or one word
	until debootstrap --variant=minbase $include "$suite" "$root" "$mirror" >"$root.log" 2>&1; do
		tail -n 20 "$root.log" >&2
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || exit 1
		rm -rf --one-file-system "$root"
		mkdir -m 700 "$root"
	done
	rm -f "$root.log"

	# How to reach the mirror: proxies, credentials and certificates of this machine, if it has any.
	security=$(echo "$sites" | grep -m1 -E 'debian-security/?$') || security=
	rm -f "$root/etc/apt/sources.list"
	{
		printf 'Types: deb\nURIs: %s\nSuites: %s %s-updates\nComponents: main\n' "$mirror" "$suite" "$suite"
		printf 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n'
		[ -z "$security" ] || printf '\nTypes: deb\nURIs: %s\nSuites: %s-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$security" "$suite"
	} >"$root/etc/apt/sources.list.d/debian.sources"
	grep -lsE '^ *Acquire' /etc/apt/apt.conf.d/* /etc/apt/apt.conf | while read -r f; do
		cp "$f" "$root/etc/apt/apt.conf.d/"
	done
	cp -r /etc/apt/auth.conf.d "$root/etc/apt/" 2>/dev/null || true
	cp -r /usr/local/share/ca-certificates "$root/usr/local/share/" 2>/dev/null || true
	[ -z "$include" ] || chroot "$root" update-ca-certificates >/dev/null

	# As in Debian's own slim images: no service starts, no documentation, no package cache.
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod +x "$root/usr/sbin/policy-rc.d"
	printf 'path-exclude /usr/share/%s/*\n' man locale info >"$root/etc/dpkg/dpkg.cfg.d/slim"
	printf 'path-exclude /usr/share/doc/*\npath-include /usr/share/doc/*/copyright\n' >>"$root/etc/dpkg/dpkg.cfg.d/slim"
	printf 'APT::Install-Recommends "false";\nDPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };\n' \
		>"$root/etc/apt/apt.conf.d/slim"
	find "$root/usr/share/man" "$root/usr/share/locale" "$root/var/cache/apt/archives" "$root/var/lib/apt/lists" \
		-mindepth 1 -delete
	find "$root/usr/share/doc" -type f ! -name copyright -delete
	tar --numeric-owner -C "$root" -cf "$tar.new" .
	mv "$tar.new" "$tar"
fi
docker import --change 'CMD ["bash"]' --change 'LABEL dockstack.base=made-here' "$tar" "$name" >/dev/null
