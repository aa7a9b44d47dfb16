#!/bin/bash
# HAProxy before the APIs of a stack. Who is behind it, and how many, it learns from DNS once a second.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh
# shellcheck source=contrail-images/lib/dns.sh
. /usr/local/lib/dockstack/dns.sh
trap 'exit 0' USR1

setting HTTP_SERVICES 'keystone:5000 glance:9292 placement:8778 nova:8774,8775,6080 neutron-server:9696 cinder:8776 heat:8004,8000 designate:9001 horizon:80 config:8082 analytics:8081 webui:8080' 'APIs and pages, each NAME:PORT,PORT, shared by all replicas of the name'
setting TCP_SERVICES 'rabbitmq:5672 webui:8143' 'what is no HTTP, in the same form; several names of one service are NAME,NAME:PORT'
setting FIRST_SERVICES 'mariadb:3306' 'of which only the first that lives is asked, as Galera for writing: NAME,NAME,NAME:PORT'
setting FIRST_CHECK_PORT '' "the port of FIRST_SERVICES' servers whose HTTP answer says who serves: 9200 for Galera; empty: their greeting as MariaDB says it"
setting REPLICAS 8 'how many replicas a name may have'
setting DNS_SERVER '' "who is asked: an address; empty: dockstack's DNS at the network's first address, or where that is none the server that resolv.conf names"
setting PROXY_CONNECTIONS 4000 'clients at once'
setting STATS_USER admin 'who may look at the statistics, if there is a password'
setting STATS_PASSWORD '' 'password for the statistics; empty: everybody may look'
setting LOG_REQUESTS no 'yes: every request in the log; else failed ones, and changes of servers'
[[ $STATS_USER != *:* ]] || die "STATS_USER is $STATS_USER: HAProxy would take what is behind the colon for the password. Choose a name without one"

if [ -z "$DNS_SERVER" ] && ! rendering; then
	find_dns 'set DNS_SERVER to it'
	DNS_SERVER=$dns_server
	log "servers are looked up at ${DNS_SERVER:-the server of resolv.conf: it is not known here who runs on other hosts}"
fi

# section MODE SERVICE prints what listens on the service's ports. MODE is http, tcp or first.
section() {
	local mode=$1 names=${2%%:*} ports=${2#*:} port name lines ask=mysql-check check=
	[[ $2 =~ ^[^:]+:[0-9]+(,[0-9]+)*$ ]] || die "service $2: want NAME:PORT or NAME,NAME:PORT,PORT"
	[ -z "$FIRST_CHECK_PORT" ] || ask=httpchk check="port $FIRST_CHECK_PORT "
	for port in ${ports//,/ }; do
		lines=
		for name in ${names//,/ }; do
			if [ "$mode" != first ]; then
				lines+="server-template $name- 1-$REPLICAS $name:$port"$'\n'
			elif [ -z "$lines" ]; then
				lines+="server $name $name:$port ${check}on-marked-down shutdown-sessions on-marked-up shutdown-backup-sessions"$'\n'
			else
				lines+="server $name $name:$port ${check}backup on-marked-down shutdown-sessions"$'\n'
			fi
		done
		printf 'listen %s-%s\nbind :%s\n' "${names//,/-}" "$port" "$port"
		case $mode in
		http)
			# What changes nothing may be asked again of another server.
			cat <<-EOF
				mode http
				option httplog
				balance leastconn
				option forwardfor
				option httpchk GET /
				http-check expect status 200-499
				retry-on conn-failure empty-response
				http-request disable-l7-retry unless METH_GET || { method HEAD }
			EOF
			;;
		tcp) printf '%s\n' 'mode tcp' 'option tcplog' 'balance leastconn' 'timeout client 12h' 'timeout server 12h' ;;
		first) printf '%s\n' 'mode tcp' 'option tcplog' "option $ask" 'timeout client 12h' 'timeout server 12h' ;;
		esac
		printf '%s' "$lines"
	done
}

# indented sets sections apart.
indented() { awk '/^(global|defaults|resolvers|frontend|listen)/ {print (NR > 1 ? "\n" : "") $0; next} NF {print "\t" $0}'; }

# quoted TEXT prints it as one word.
quoted() { printf "'%s'" "${1//\'/"'\''"}"; }

indented <<-EOF | config /etc/haproxy/haproxy.cfg haproxy
	global
		user haproxy
		group haproxy
		log stdout format raw daemon info
		maxconn $PROXY_CONNECTIONS
		hard-stop-after 3s
	defaults
		log global
		option dontlognull
		$([ "$LOG_REQUESTS" = yes ] || echo option dontlog-normal)
		option redispatch 1
		option clitcpka
		option srvtcpka
		retries 3
		timeout connect 2s
		timeout check 10s
		timeout client 5m
		timeout server 5m
		timeout queue 10s
		timeout tunnel 12h
		timeout http-request 30s
		default-server check inter 2s fastinter 1s downinter 1s fall 3 rise 1 resolvers names resolve-prefer ipv4 init-addr none
	resolvers names
		$(if [ -n "$DNS_SERVER" ]; then echo "nameserver dockstack $DNS_SERVER:53"; else echo parse-resolv-conf; fi)
		accepted_payload_size 1232
		resolve_retries 3
		timeout resolve 1s
		timeout retry 500ms
		hold valid 1s
		hold obsolete 1s
		hold nx 5s
		# Whoever does not answer says nothing against the servers that are known.
		hold timeout 1d
		hold refused 1d
		hold other 1d
	frontend statistics
		bind :888
		mode http
		no log
		monitor-uri /alive
		http-request use-service prometheus-exporter if { path /metrics }
		stats enable
		stats uri /
		stats refresh 5s
		$([ -z "$STATS_PASSWORD" ] || echo "stats auth $(quoted "$STATS_USER:$STATS_PASSWORD")")
	$(for service in $HTTP_SERVICES; do section http "$service"; done)
	$(for service in $TCP_SERVICES; do section tcp "$service"; done)
	$(for service in $FIRST_SERVICES; do section first "$service"; done)
EOF
rendered

exec "$@"
