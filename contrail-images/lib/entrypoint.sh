# shellcheck shell=bash
# What every entrypoint begins with: its settings, its configuration files, waiting for others, handing over.
#
# With RENDER_ONLY=1 an entrypoint writes its configuration and ends with 0. It asks nobody, so that shows what an
# image makes of its variables, on any machine and without a network.
set -euo pipefail
shopt -s inherit_errexit # or a failure within $(...) would be passed over

# A shell that is process 1 ends on no signal that it has not asked for. After exec the server has its own say.
trap 'exit 143' TERM
trap 'exit 130' INT
# die within $(...) ends more than that: see there.
trap 'exit 1' USR2

log() { printf 'entrypoint: %s\n' "$*" >&2; }

# die TEXT ends the entrypoint. Within the $(...) of a here-document, which bash expands whatever becomes of it, an exit
# would end only that part, and the file would lack it.
die() {
	log "$*"
	[ "$BASHPID" = "$$" ] || kill -USR2 "$$"
	exit 1
}

# setting NAME DEFAULT MEANING declares a variable: what is set and not empty, else the content of the file that
# NAME_FILE names, else DEFAULT. It is one line: in a configuration file the next could be anything. The builder's
# dump-config-keys reads these lines, so name and meaning stand as they are.
setting() {
	local file=${1}_FILE
	if [ -z "${!1:-}" ] && [ -n "${!file:-}" ]; then
		{ [ -r "${!file}" ] && [ ! -d "${!file}" ]; } || die "$file is ${!file}, which can't be read: $3"
		printf -v "$1" %s "$(<"${!file}")"
		[ -n "${!1}" ] || die "$file is ${!file}, which is empty: $3. Write the value into it, or take $file away"
	fi
	[ -n "${!1:-}" ] || printf -v "$1" %s "$2"
	[[ ${!1} != *[$'\n\r']* ]] ||
		die "$1 has more than one line, or a line with a carriage return at its end, which can't be written into a configuration file: $3"
}

# secret NAME MEANING declares a variable that has no default. Secrets go into configuration files and into standard
# input, never into a log or a command line.
secret() {
	setting "$1" '' "$2"
	[ -n "${!1}" ] || die "$1 is not set: $2. Set it (compose/common.env does), or let ${1}_FILE name a file that has it"
}

setting RENDER_ONLY '' 'with any value the entrypoint writes its configuration, asks nobody, and ends'
rendering() { [ -n "$RENDER_ONLY" ]; }

# config PATH [GROUP [MODE]] writes standard input to a configuration file that root owns and GROUP may read.
config() {
	local path=$1 group=${2:-root} mode=${3:-0640} new
	mkdir -p "${path%/*}"
	new=$(mktemp "$path.XXXXXX")
	cat >"$new"
	if ! getent group "$group" >/dev/null; then
		rendering || die "can't give $path to the group $group: this image has no such group"
		group=root # rendered in another image than its own
	fi
	chgrp "$group" "$new"
	chmod "$mode" "$new"
	mv "$new" "$path"
}

# rendered ends the entrypoint if it was only to render. Everything above it writes files, everything below may ask others.
rendered() {
	! rendering || exit 0
}

# What follows may wait, and sets a variable instead of printing: bash heeds no SIGTERM while it waits for a $(...).

# find_address INTERFACE sets address to its first IPv4 address. In a namespace that lost its interface it waits for its
# end: the container that owned it was restarted, and this one will be.
find_address() {
	address=$(first_address "$1")
	if [ -z "$address" ] && rendering; then
		address=127.0.0.1
	fi
	while [ -z "$address" ]; do
		log "no IPv4 address on $1 in this network namespace: waiting for it"
		pause 2
		address=$(first_address "$1")
	done
}

first_address() { ip -4 -o addr show dev "$1" scope global 2>/dev/null | awk '{sub("/.*", "", $4); print $4; exit}' || true; }

# pause SECONDS sleeps, and wakes up for SIGTERM, for which bash would let a command in the foreground come to its end.
pause() {
	sleep "$1" &
	wait $!
}

# address_by_name NAME prints the IPv4 address that a name leads to, or nothing.
address_by_name() { getent ahostsv4 "$1" | awk '{print $1; exit}' || true; }

# find_member NAMES sets here to which of some names, separated by spaces, leads to this container: which member of a
# cluster it is. When rendering, the first one.
find_member() {
	local said=$((SECONDS - 8))
	if rendering; then
		here=${1%% *}
		return
	fi
	while :; do
		for here in $1; do
			if ip -4 -o addr show scope global | awk '{sub("/.*", "", $4); print $4}' | grep -xF "$(address_by_name "$here")" >/dev/null; then
				return
			fi
		done
		if [ $((SECONDS - said)) -ge 10 ]; then
			said=$SECONDS
			log "waiting for one of the names $1 to lead to this container: is it one of them, and in their network?"
		fi
		pause 1
	done
}

# reachable HOST PORT tries one TCP connection.
reachable() {
	# shellcheck disable=SC2016 # the inner shell expands them
	timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null
}

# wait_for HOST PORT waits until a TCP connection succeeds, and says every 10 s what it waits for. It never gives up:
# after a reboot the engine starts containers in no order, and those on another host may be minutes late.
wait_for() {
	local said=$((SECONDS - 8)) why
	until reachable "$1" "$2"; do
		if [ $((SECONDS - said)) -ge 10 ]; then
			said=$SECONDS
			if getent ahosts "$1" >/dev/null; then why="nothing answers there"; else why="that name is not known yet"; fi
			log "waiting for $1 port $2: $why"
		fi
		pause 0.3
	done
}

# become USER COMMAND... hands over to the server, as process 1 and as that user. As root: exec.
become() {
	local user=$1
	shift
	exec setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
}
