#!/bin/bash
# OpenSDN's DNS, which tells the name server what it serves.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

we_are CONTROL_NODES "$INTERFACE_EXT"
told
any_answers "$CONFIGDB_NODES" "$CONFIGDB_CQL_PORT"
exec "$opensdn" "$@"
