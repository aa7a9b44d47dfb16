#!/bin/bash
# MariaDB, alone, or as a member of a Galera cluster where GALERA_MEMBERS is set.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

secret MYSQL_ROOT_PASSWORD "password of root, who may log in from anywhere"
setting MAX_CONNECTIONS 1000 'clients at once'
setting INNODB_BUFFER_POOL 128M 'memory for data, as 512M or 4G'
setting GALERA_MEMBERS '' 'host names of all members of a Galera cluster, separated by commas; without them this is a server of its own'
setting GALERA_CLUSTER openstack 'name of the Galera cluster'
setting GALERA_FORCE_BOOTSTRAP '' 'name of the member that is to begin the cluster anew from its own data though others do not answer; what only they have is lost'

volume=/var/lib/mysql
data=$volume/data

config /etc/mysql/mariadb.conf.d/50-dockstack.cnf mysql <<-EOF
	[mariadbd]
	datadir = $data
	bind_address = 0.0.0.0
	character_set_server = utf8mb4
	skip_name_resolve = ON
	max_connections = $MAX_CONNECTIONS
	innodb_buffer_pool_size = $INNODB_BUFFER_POOL
	# A client whose host is gone loses its connection within a minute, and with it its locks.
	tcp_keepalive_time = 30
	tcp_keepalive_interval = 10
	tcp_keepalive_probes = 3
EOF
if [ -n "$GALERA_MEMBERS" ]; then
	config /etc/mysql/mariadb.conf.d/60-galera.cnf mysql <<-EOF
		[mariadbd]
		binlog_format = ROW
		default_storage_engine = InnoDB
		innodb_autoinc_lock_mode = 2
		wsrep_provider = /usr/lib/galera/libgalera_smm.so
		# Which member begins after a full stop is agreed upon in galera.sh. Galera's own notes would be a second opinion.
		wsrep_provider_options = "pc.recovery=false; pc.wait_prim_timeout=PT15S"
		wsrep_cluster_name = $GALERA_CLUSTER
		wsrep_sst_method = rsync
		wsrep_notify_cmd = /usr/local/lib/dockstack/galera-changed
	EOF
fi
rendered

[ "${1:-}" = mariadbd ] || exec "$@"

# sql_text TEXT prints it as a quoted SQL string.
sql_text() {
	local text=${1//\\/\\\\}
	printf "'%s'" "${text//\'/\'\'}"
}

# make_database makes it beside its place and moves it there when it is whole, so that one which was interrupted never
# counts. Files *.sql in /docker-entrypoint-initdb.d are run in it, in their order.
make_database() {
	local new=$volume/new socket=/run/mysqld/new.sock server file
	log "making the database in $data"
	rm -rf "$new"
	mariadb-install-db --user=mysql --datadir="$new" --skip-test-db --auth-root-authentication-method=socket >/dev/null
	setpriv --reuid mysql --regid mysql --init-groups \
		mariadbd --datadir="$new" --skip-networking --socket="$socket" --pid-file=/run/mysqld/new.pid &
	server=$!
	until mariadb --socket="$socket" --execute='DO 1' 2>/dev/null; do
		kill -0 "$server" || die "the new database in $new does not start: the reason is above"
		sleep 0.2
	done
	mariadb --socket="$socket" <<-EOF
		CREATE USER root@'%' IDENTIFIED BY $(sql_text "$MYSQL_ROOT_PASSWORD");
		GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;
	EOF
	for file in /docker-entrypoint-initdb.d/*.sql; do
		[ -e "$file" ] || continue
		log "running $file"
		mariadb --socket="$socket" <"$file" || die "$file failed: the reason is above. It is tried again at the next start"
	done
	kill "$server"
	wait "$server"
	sync
	mv -T "$new" "$data"
	sync
}

[ ! -d "$volume/mysql" ] ||
	die "the volume has a database at its top, from another image. Move everything in it to the directory data in it"
chown mysql:mysql "$volume"
install -d -o mysql -g mysql /run/mysqld

if [ -n "$GALERA_MEMBERS" ]; then
	# shellcheck source=contrail-images/common/mariadb/galera.sh
	. /usr/local/lib/dockstack/galera.sh
	set -- "$@" "${galera_options[@]}"
else
	[ -d "$data" ] || make_database
	# The password is the present one, also of a database that was made with another.
	config /etc/mysql/root.sql mysql <<<"ALTER USER IF EXISTS root@'%' IDENTIFIED BY $(sql_text "$MYSQL_ROOT_PASSWORD");"
	set -- "$@" --init-file=/etc/mysql/root.sql
fi
become mysql "$@"
