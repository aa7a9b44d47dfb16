# shellcheck shell=bash
# How a member of a Galera cluster starts: when it knows that the cluster runs, it joins; when it knows that nobody runs
# and that its data is the newest of all members', it begins the cluster; else it waits and says for whom. It sets
# galera_options, what mariadbd is started with.
#
# Members answer each other on port 9200 (galera-answer), the whole time, one line:
#   waiting UUID SEQNO       not started; its data is at this position, "none -2" without data
#   starting                 it starts and can't tell yet
#   primary STATUS UUID      it is part of the cluster
#   nonprimary STATUS UUID   it runs and lost the others
#
# That there are never two clusters: a position does not change while its member waits, so when all have told theirs, all
# come to the same conclusion who begins, and only that one does. Who is not waiting is not asked to agree: the others
# wait for it. So one member alone never begins anything, unless GALERA_FORCE_BOOTSTRAP names it.
#
# Addresses of the members are asked for once, when the volume is new, and kept in it: Galera writes down addresses and
# not names, so what is wanted of the network is that they stay. A member that comes with a new name in GALERA_MEMBERS is
# looked up then.

# The entrypoint sets these.
# shellcheck disable=SC2154,SC2153,SC2269
members=${GALERA_MEMBERS//,/ } top=$volume data=$data
galera_port=9200
galera_state=/run/mysqld/galera
declare -A galera_address

# galera_says STATE changes what the others hear.
galera_says() {
	printf '%s\n' "$1" >"$galera_state.new"
	chown mysql:mysql "$galera_state.new"
	mv "$galera_state.new" "$galera_state"
}

# galera_waits WHAT logs what it waits for, every 10 s and whenever that changes.
galera_waits() {
	if [ "$1" != "${galera_waiting:-}" ] || [ $((SECONDS - galera_said)) -ge 10 ]; then
		galera_waiting=$1 galera_said=$SECONDS
		log "waiting for $1"
	fi
	sleep 1
}

# galera_addresses fills galera_address from the volume, or for names that are new from DNS.
galera_addresses() {
	local file=$top/members name address now
	if [ -e "$file" ]; then
		while read -r name address; do galera_address[$name]=$address; done <"$file"
	fi
	for name in $members; do
		now=$(address_by_name "$name")
		address=${galera_address[$name]:-}
		while [ -z "$address" ]; do
			address=$(address_by_name "$name")
			[ -n "$address" ] || galera_waits "the name $name, to learn its address once and for all"
		done
		galera_address[$name]=$address
		[ -z "$now" ] || [ "$now" = "$address" ] ||
			log "WARNING: $name has the address $now now, but had $address when this volume was new, and that is what Galera goes by. If it is to be $now from now on, remove its line from $file of every member"
	done
	for name in $members; do printf '%s %s\n' "$name" "${galera_address[$name]}"; done >"$file.new"
	mv "$file.new" "$file"
}

# galera_me sets me, which of the members this is.
galera_me() {
	local name mine
	while :; do
		mine=$(ip -4 -o addr show scope global | awk '{sub("/.*", "", $4); print $4}')
		for name in $members; do
			if grep -qxF "${galera_address[$name]}" <<<"$mine"; then
				me=$name
				return
			fi
		done
		galera_waits "an address of a member: this container has ${mine//$'\n'/, }, and in $top/members stand ${galera_address[*]}"
	done
}

# galera_position sets uuid and seqno: how far the data goes. It removes what a state transfer left that did not end.
galera_position() {
	local log
	uuid=none seqno=-2
	if [ -e "$top/joining" ] || [ -e "$data/sst_in_progress" ]; then
		log "the data that this member was getting from another is not whole: it will get it anew"
		rm -rf "$data"
		rm -f "$top/joining"
	fi
	[ -d "$data/mysql" ] || return 0
	if [ -s "$data/grastate.dat" ]; then
		uuid=$(awk '$1 == "uuid:" {print $2}' "$data/grastate.dat")
		seqno=$(awk '$1 == "seqno:" {print $2}' "$data/grastate.dat")
	fi
	[ "$seqno" -lt 0 ] || return 0 # it was stopped cleanly
	# After a crash InnoDB knows.
	log=$(setpriv --reuid mysql --regid mysql --init-groups mariadbd --wsrep-on=ON --wsrep-cluster-address=gcomm:// --wsrep-recover 2>&1) ||
		die "can't recover the data in $data: $(tail -n 20 <<<"$log")"
	read -r uuid seqno < <(sed -n 's/.*WSREP: Recovered position: \([^:]*\):\(-\?[0-9]*\).*/\1 \2/p' <<<"$log" | tail -n 1) ||
		die "MariaDB does not tell how far the data in $data goes: $(tail -n 20 <<<"$log")"
}

# galera_ask NAME prints what that member answers, or nothing.
galera_ask() { curl -s --max-time 2 "http://${galera_address[$1]}:$galera_port/" 2>/dev/null || true; }

# galera_look asks all others. It sets cluster (the UUID of the one that runs, or nothing), first (who has the newest
# data), silent (who can't be counted on, and why), foreign (whose data is of another cluster).
galera_look() {
	local name answer kind its_uuid its_seqno best=-3 known=
	cluster='' first='' silent='' foreign=''
	for name in $members; do
		if [ "$name" = "$me" ]; then
			answer="waiting $uuid $seqno"
		else
			answer=$(galera_ask "$name")
		fi
		read -r kind its_uuid its_seqno <<<"$answer"
		case $kind in
		primary) cluster=$its_seqno ;;
		waiting)
			if [ "$its_seqno" -gt "$best" ]; then
				best=$its_seqno first=$name
			fi
			if [ "$its_uuid" != none ]; then
				# All zeros: a database that never was part of a cluster.
				if [ -n "$known" ] && { [ "$known" != "$its_uuid" ] || [[ $its_uuid =~ ^[0-]+$ ]]; }; then
					foreign+="${foreign:+, }$name ($its_uuid)"
				fi
				known=$its_uuid
			fi
			;;
		'') silent+="${silent:+, }$name (no answer from ${galera_address[$name]})" ;;
		*) silent+="${silent:+, }$name ($answer)" ;;
		esac
	done
}

# galera_begin begins the cluster with the data of this member.
galera_begin() {
	log "beginning the cluster with the data of $me, at ${uuid}:${seqno}"
	[ "$uuid" != none ] || make_database
	[ ! -e "$data/grastate.dat" ] || sed -i 's/^safe_to_bootstrap:.*/safe_to_bootstrap: 1/' "$data/grastate.dat"
	galera_options+=(--wsrep-new-cluster)
}

# galera_join prepares joining the cluster that runs.
galera_join() {
	log "joining the cluster $cluster with ${uuid/none/no data}${uuid:+:$seqno}"
	if [ "$uuid" = none ]; then
		touch "$top/joining" # until the first time that it is in step: galera-changed removes it
		chown mysql:mysql "$top/joining"
		install -d -o mysql -g mysql -m 0700 "$data"
	fi
}

# galera_stuck tells whether starting anew may help: another is part of the cluster, or all others answer, and none of
# them is about to be.
galera_stuck() {
	local name
	for name in $members; do
		[ "$name" = "$me" ] || case $(galera_ask "$name") in
		primary*) return 0 ;;
		waiting*) lost=$((lost + 3)) ;; # it can't come back into what this member remembers
		nonprimary*) ;;
		*) return 1 ;;
		esac
	done
}

# galera_watch PID ends a mariadbd that lost the others and can't find back to them by itself, though they are there. It
# has half a minute for that. The engine starts the container again, and then it joins, or positions are compared.
galera_watch() {
	local kind lost=0
	while sleep 3; do
		read -r kind _ <"$galera_state"
		if [ "$kind" = nonprimary ] && galera_stuck; then
			lost=$((lost + 1))
		else
			lost=0
		fi
		if [ "$lost" -ge 10 ]; then
			log "$me lost the cluster and does not find back, though others are there: starting anew, to agree with them"
			kill "$1"
			lost=0
		fi
	done
}

# galera_serve answers the others for as long as the container runs.
galera_serve() {
	while :; do
		setpriv --reuid mysql --regid mysql --init-groups \
			socat "TCP-LISTEN:$galera_port,reuseaddr,fork,max-children=64" EXEC:/usr/local/lib/dockstack/galera-answer || true
		sleep 1
	done
}

galera_said=$((SECONDS - 10))
galera_addresses
galera_me
list=
for name in $members; do list+="${list:+,}${galera_address[$name]}"; done
galera_says starting
galera_serve &
galera_position
galera_says "waiting $uuid $seqno"
galera_options=(--wsrep-on=ON --wsrep-node-name="$me" --wsrep-node-address="${galera_address[$me]}" --wsrep-cluster-address="gcomm://$list")
[ "$seqno" -lt 0 ] || galera_options+=(--wsrep-start-position="$uuid:$seqno")

while :; do
	galera_look
	if [ -n "$cluster" ]; then
		if [ "$uuid" = none ] || [ "$uuid" = "$cluster" ]; then
			galera_says starting
			galera_join
			break
		fi
		galera_waits "somebody to decide: $me has data of another cluster ($uuid) than the one that runs ($cluster). Remove its volume to let it join"
	elif [ "$GALERA_FORCE_BOOTSTRAP" = "$me" ]; then
		log "WARNING: GALERA_FORCE_BOOTSTRAP: not waiting for ${silent:-anybody}"
		galera_says starting
		galera_begin
		break
	elif [ -n "$silent" ]; then
		galera_waits "$silent. This member is at $uuid:$seqno. Nobody begins before all members have told how far their data goes"
	elif [ -n "$foreign" ]; then
		galera_waits "somebody to decide: these members have data that is of no common cluster: $me ($uuid), $foreign. Remove the volumes of those that are wrong"
	elif [ "$first" = "$me" ]; then
		galera_says starting
		galera_begin
		break
	else
		galera_waits "$first to begin: it has the newest data, or is the first of those that have"
	fi
done
galera_watch $$ &
