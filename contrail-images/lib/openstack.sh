# shellcheck shell=bash
# What the OpenStack entrypoints share: where the others are, the sections that every service's configuration has, and
# what has to exist in MariaDB and Keystone before a service can start.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

secret ADMIN_PASSWORD 'password of the administrator'
setting ADMIN_USER admin 'name of the administrator'
setting ADMIN_TENANT admin 'project of the administrator'
setting REGION RegionOne 'region of every endpoint'
setting SERVICE_PASSWORD "$ADMIN_PASSWORD" 'password of the services in Keystone, MariaDB and each other'
setting KEYSTONE_SERVER keystone 'host name of Keystone'
setting MEMCACHED_SERVER memcached 'host names of memcached, separated by commas'
setting MYSQL_SERVER mariadb 'host name of MariaDB'
secret MYSQL_ROOT_PASSWORD "password of MariaDB's root, who makes the services' databases"
setting RABBIT_SERVER rabbitmq 'host names of RabbitMQ, separated by commas'
setting RABBIT_USER openstack "RabbitMQ's user"
setting RABBIT_PASSWORD "$ADMIN_PASSWORD" "password of RabbitMQ's user"
setting WORKERS 1 'processes of each API'

keystone_url=http://$KEYSTONE_SERVER:5000
memcached_servers=${MEMCACHED_SERVER//,/:11211,}:11211

# database_url DATABASE USER
database_url() { printf 'mysql+pymysql://%s:%s@%s/%s\n' "$2" "$(database_password)" "$MYSQL_SERVER" "$1"; }

# database_password prints the services' password in MariaDB: SERVICE_PASSWORD, but its SHA-256 if it has characters that
# would have to be encoded in a URL. Keystone and others stumble over the percent signs of that.
database_password() {
	if [[ $SERVICE_PASSWORD =~ ^[A-Za-z0-9_.~-]+$ ]]; then
		printf '%s\n' "$SERVICE_PASSWORD"
	else
		printf %s "$SERVICE_PASSWORD" | sha256sum | cut -d' ' -f1
	fi
}

url_encoded() { printf %s "$1" | jq -sRr @uri; }

# oslo VALUE prints it as a file of oslo.config's has it, where a dollar begins a reference, and blanks and quotes around
# a value are taken off. (database_url and transport_url need it not, for they have none.)
oslo() { printf '"%s"\n' "${1//\$/\\\$}"; }

# transport_url names every RabbitMQ server, so that clients of a cluster go on to the next.
transport_url() {
	local server list=
	for server in ${RABBIT_SERVER//,/ }; do
		list+="${list:+,}$(url_encoded "$RABBIT_USER"):$(url_encoded "$RABBIT_PASSWORD")@$server:5672"
	done
	printf 'rabbit://%s/\n' "$list"
}

# rabbit_section prints how soon a service finds that RabbitMQ is gone without a word (its host lost power), and that it
# is back.
rabbit_section() {
	cat <<-EOF
		[oslo_messaging_rabbit]
		heartbeat_rate = 3
		heartbeat_timeout_threshold = 15
		rabbit_interval_max = 5
		rabbit_retry_backoff = 1
	EOF
}

# password_auth USER prints how a service's user logs in, as every section that calls another service has it.
password_auth() {
	cat <<-EOF
		auth_url = $keystone_url/v3
		auth_type = password
		project_domain_name = Default
		user_domain_name = Default
		project_name = service
		username = $1
		password = $(oslo "$SERVICE_PASSWORD")
		region_name = $REGION
	EOF
}

# authtoken_section USER prints the section by which an API checks its callers' tokens.
authtoken_section() {
	cat <<-EOF
		[keystone_authtoken]
		www_authenticate_uri = $keystone_url
		memcached_servers = $memcached_servers
		service_token_roles_required = true
		$(password_auth "$1")
	EOF
}

# uwsgi_config NAME PORT WSGI-SCRIPT USER writes what runs a WSGI script as an HTTP server: /etc/dockstack/uwsgi.ini.
uwsgi_config() {
	config /etc/dockstack/uwsgi.ini "$4" <<-EOF
		[uwsgi]
		http-socket = 0.0.0.0:$2
		wsgi-file = $3
		plugins = python3
		master = true
		lazy-apps = true
		enable-threads = true
		processes = $WORKERS
		threads = 8
		buffer-size = 65535
		rem-header = Content-Length
		die-on-term = true
		thunder-lock = true
		uid = $4
		gid = $4
		chdir = /var/lib/$4
		procname-prefix-spaced = $1
	EOF
}

# sql STATEMENT runs as MariaDB's root and prints rows without a head. It goes by standard input, for it may have a password.
sql() { MYSQL_PWD=$MYSQL_ROOT_PASSWORD mariadb --host="$MYSQL_SERVER" --user=root --batch --skip-column-names <<<"$1"; }

wait_for_sql() {
	wait_for "$MYSQL_SERVER" 3306
	until sql 'SELECT 1' >/dev/null; do
		log "waiting for MariaDB on $MYSQL_SERVER to answer queries"
		pause 1
	done
}

# database NAME USER makes a database and the user who has it, or gives that user the present password.
database() {
	sql "CREATE DATABASE IF NOT EXISTS $1 CHARACTER SET utf8mb3;
		CREATE USER IF NOT EXISTS $2@'%';
		ALTER USER $2@'%' IDENTIFIED BY '$(database_password)';
		GRANT ALL ON $1.* TO $2@'%'"
}

# once NAME CONTENT COMMAND... runs what sets a service up (databases, users, endpoints), unless that was done before
# with the same CONTENT (package versions and settings). The note of it is kept in the same MariaDB, so it is lost
# with what it speaks of. Of several replicas, on any host, one runs it and the others wait.
once() {
	local name=$1 mark got
	mark=$(printf '%s\n%s\n' "$2" "$MYSQL_ROOT_PASSWORD" | sha256sum | cut -d' ' -f1)
	shift 2
	wait_for_sql
	sql 'CREATE DATABASE IF NOT EXISTS dockstack;
		CREATE TABLE IF NOT EXISTS dockstack.done (name VARCHAR(64) PRIMARY KEY, mark CHAR(64) NOT NULL)'
	[ "$(sql "SELECT mark FROM dockstack.done WHERE name = '$name'")" != "$mark" ] || return 0

	# The lock lasts as long as this connection, so it ends with whoever holds it; a minute later if that fell silent, by
	# MariaDB's tcp_keepalive.
	coproc LOCK { MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec mariadb --host="$MYSQL_SERVER" --user=root --batch --skip-column-names --unbuffered; }
	# shellcheck disable=SC2153 # coproc sets LOCK
	local in=${LOCK[0]} out=${LOCK[1]} pid=$LOCK_PID
	while :; do
		{ printf "SELECT GET_LOCK('dockstack.%s', 10);\n" "$name" >&"$out" && read -r got <&"$in"; } ||
			die "setting up $name: the connection to MariaDB on $MYSQL_SERVER broke"
		[ "$got" != 1 ] || break
		log "waiting for another replica that sets $name up, or for MariaDB to notice that its host is gone"
	done
	if [ "$(sql "SELECT mark FROM dockstack.done WHERE name = '$name'")" != "$mark" ]; then
		log "setting up $name"
		# Beside this shell, so that SIGTERM ends it at once.
		"$@" &
		wait $!
		sql "REPLACE INTO dockstack.done VALUES ('$name', '$mark')"
		log "$name is set up"
	fi
	exec {out}>&- {in}<&-
	wait "$pid" || true
}

# versions PACKAGE... prints what is installed, for once.
versions() { dpkg-query -W -f '${Package} ${Version}\n' "$@"; }

# curl's: a Keystone that takes a call and never answers it is one that is away.
patience=(--connect-timeout 10 --max-time 60)

# keystone_login gets a token of the administrator for the functions below.
keystone_login() {
	local body
	body=$(NAME=$ADMIN_USER PASSWORD=$ADMIN_PASSWORD PROJECT=$ADMIN_TENANT jq -n '{auth: {
		identity: {methods: ["password"], password: {user: {name: env.NAME, password: env.PASSWORD, domain: {id: "default"}}}},
		scope: {project: {name: env.PROJECT, domain: {id: "default"}}}}}')
	wait_for "$KEYSTONE_SERVER" 5000
	until keystone_token=$(curl -sSf "${patience[@]}" -o /dev/null -D - -H 'Content-Type: application/json' --data-binary @- \
		"$keystone_url/v3/auth/tokens" <<<"$body" | tr -d '\r' | awk 'tolower($1) == "x-subject-token:" {print $2}') &&
		[ -n "$keystone_token" ]; do
		log "waiting for Keystone on $KEYSTONE_SERVER to let $ADMIN_USER in"
		pause 1
	done
}

# keystone METHOD PATH [JSON] calls Keystone's API and prints the answer. That something exists already (409) is no
# error. A Keystone that is away or in trouble is asked again.
keystone() {
	local status answer
	answer=$(mktemp)
	while :; do
		# Token and content may be secrets: they go by file descriptors, not by the command line.
		status=$(printf %s "${3:-}" | curl -sS "${patience[@]}" -o "$answer" -w '%{http_code}' -X "$1" -H 'Content-Type: application/json' \
			-H @<(printf 'X-Auth-Token: %s\n' "$keystone_token") --data-binary @- "$keystone_url/v3/$2") || status="no answer"
		case $status in
		2?? | 409) break ;;
		"no answer" | 5??) log "Keystone on $KEYSTONE_SERVER did not do $1 $2: $status; asking again" ;;
		*) die "Keystone on $KEYSTONE_SERVER refuses $1 $2: $status $(jq -r '.error.message // empty' "$answer" 2>/dev/null || true)" ;;
		esac
		pause 1
	done
	cat "$answer"
	rm -f "$answer"
}

# keystone_id KIND QUERY [JSON] prints the id of the thing of that kind (a plural: users, services) that the query finds,
# which is made from the JSON if there is none.
keystone_id() {
	local id
	id=$(keystone GET "$1?$2" | jq -r --arg kind "$1" '.[$kind][0].id // empty')
	if [ -z "$id" ] && [ -n "${3:-}" ]; then
		keystone POST "$1" "$3" >/dev/null
		id=$(keystone GET "$1?$2" | jq -r --arg kind "$1" '.[$kind][0].id // empty')
	fi
	[ -n "$id" ] || die "Keystone has none of $1 with $2"
	printf '%s\n' "$id"
}

# service_user NAME makes the user of a service, with the roles admin and service in the project service.
service_user() {
	local project user role id
	keystone_login
	project=$(keystone_id projects 'name=service&domain_id=default' '{"project": {"name": "service", "domain_id": "default"}}')
	user=$(keystone_id users "name=$1&domain_id=default" "{\"user\": {\"name\": \"$1\", \"domain_id\": \"default\"}}")
	keystone PATCH "users/$user" "$(PASSWORD=$SERVICE_PASSWORD jq -n '{user: {password: env.PASSWORD}}')" >/dev/null
	for role in admin service; do
		id=$(keystone_id roles "name=$role" "{\"role\": {\"name\": \"$role\"}}")
		keystone PUT "projects/$project/users/$user/roles/$id" >/dev/null
	done
}

# service_endpoints NAME TYPE URL makes the service and its three endpoints, or gives them the present URL.
service_endpoints() {
	local service interface id body
	service=$(keystone_id services "name=$1&type=$2" "{\"service\": {\"name\": \"$1\", \"type\": \"$2\"}}")
	for interface in public internal admin; do
		body=$(jq -n --arg service "$service" --arg interface "$interface" --arg region "$REGION" --arg url "$3" \
			'{endpoint: {service_id: $service, interface: $interface, region_id: $region, url: $url}}')
		id=$(keystone_id endpoints "service_id=$service&interface=$interface&region_id=$REGION" "$body")
		keystone PATCH "endpoints/$id" "$body" >/dev/null
	done
}
