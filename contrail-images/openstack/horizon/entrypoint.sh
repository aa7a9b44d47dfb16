#!/bin/bash
# Horizon under uWSGI, which serves its static files as well. Several replicas share sessions: these are in memcached.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh

setting HORIZON_SECRET "$ADMIN_PASSWORD" 'secret that sessions and forms are signed with'
setting HORIZON_ALLOWED_HOSTS '*' "host names that browsers may ask for, separated by commas; a dot before one is for all below it, * for any"
setting TIME_ZONE UTC 'time zone of the times that it shows'

secret_key=$(printf 'dockstack horizon %s' "$HORIZON_SECRET" | sha256sum | cut -d' ' -f1)

# python TEXT prints it as a Python string. Those of JSON are Python strings as well.
python() { TEXT=$1 jq -n env.TEXT; }

# The health check asks for 127.0.0.1.
allowed_hosts=$(HOSTS=$HORIZON_ALLOWED_HOSTS jq -cn '(env.HOSTS / ",") + ["127.0.0.1"]')

# A memcached that was away is asked again after a second, not after half a minute in which nobody could log in. And
# the page that follows the login is one that can be seen without Nova or Neutron, if one is missing: the overview asks both.
config /etc/openstack-dashboard/local_settings.d/_9999_dockstack.py horizon <<-EOF
	ALLOWED_HOSTS = $allowed_hosts
	CACHES = {
	    'default': {
	        'BACKEND': 'django.core.cache.backends.memcached.MemcachedCache',
	        'LOCATION': $(python "$memcached_servers"),
	        'OPTIONS': {'dead_retry': 1},
	    },
	}
	HORIZON_CONFIG['user_home'] = lambda user: '/project/' if user.has_perms(('openstack.services.compute', 'openstack.services.network')) else '/project/api_access/'
	OPENSTACK_HOST = $(python "$KEYSTONE_SERVER")
	OPENSTACK_KEYSTONE_URL = $(python "$keystone_url/v3")
	SECRET_KEY = '$secret_key'
	SESSION_ENGINE = 'django.contrib.sessions.backends.cache'
	TIME_ZONE = $(python "$TIME_ZONE")
EOF
config /etc/dockstack/uwsgi.ini horizon <<-EOF
	[uwsgi]
	http-socket = 0.0.0.0:80
	wsgi-file = /usr/share/openstack-dashboard/wsgi.py
	static-map = /static=/var/lib/openstack-dashboard/static
	static-expires = /var/lib/openstack-dashboard/static/.* 3600
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
	uid = horizon
	gid = horizon
	chdir = /usr/share/openstack-dashboard
	procname-prefix-spaced = horizon
EOF
rendered

exec "$@"
