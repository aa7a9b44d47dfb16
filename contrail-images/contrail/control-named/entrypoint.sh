#!/bin/bash
# OpenSDN's name server for virtual machines.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

we_are CONTROL_NODES "$INTERFACE_EXT"
told
exec "$opensdn" "$@"
