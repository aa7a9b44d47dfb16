#!/bin/bash
# OpenSDN's web interface. It wants a Redis and its jobs at 127.0.0.1.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

setting WEBUI_HTTP_LISTEN_PORT 8080 'port that sends browsers on to HTTPS'
setting WEBUI_LISTEN_ADDRESSES "'0.0.0.0'" 'addresses that it listens on, in quotes and separated by commas'
setting NEUTRON_SERVER neutron-server "host name of Neutron's API"
setting GLANCE_API_SERVER glance "host name of Glance's API"
setting NOVA_API_SERVER nova "host name of Nova's API"
setting CINDER_SERVER cinder "host name of Cinder's API"
# In the spelling of OpenSDN's entrypoint
# shellcheck disable=SC2034 # passes gives them on
networkManager_ip=$NEUTRON_SERVER imageManager_ip=$GLANCE_API_SERVER computeManager_ip=$NOVA_API_SERVER \
	storageManager_ip=$CINDER_SERVER regions_RegionOne=http://$KEYSTONE_AUTH_HOST:5000/v3
passes WEBUI_HTTP_LISTEN_PORT WEBUI_LISTEN_ADDRESSES networkManager_ip imageManager_ip computeManager_ip storageManager_ip \
	regions_RegionOne

we_are WEBUI_NODES "$INTERFACE_INT"
told
exec "$opensdn" "$@"
