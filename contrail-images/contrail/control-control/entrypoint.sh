#!/bin/bash
# OpenSDN's control node: BGP to routers, XMPP to vRouters.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

we_are CONTROL_NODES "$INTERFACE_EXT"
told
any_answers "$CONFIGDB_NODES" "$CONFIGDB_CQL_PORT"
exec "$opensdn" "$@"
