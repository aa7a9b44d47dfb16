#!/bin/bash
# OpenSDN's vRouter agent, on a host's own network.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

setting GATEWAY_IP '' 'gateway of the network that the vRouters are in'
setting HOST_IP '' 'address of this host in that network'
setting PHYSICAL_INTERFACE '' 'interface of this host that the vRouter takes over; the one towards the control nodes'
setting VROUTER_GATEWAY "$GATEWAY_IP" 'gateway of the network that the vRouters are in'
setting VROUTER_COMPUTE_NODE_ADDRESS "$HOST_IP" 'address of this host in that network'
passes PHYSICAL_INTERFACE VROUTER_GATEWAY VROUTER_COMPUTE_NODE_ADDRESS

told
exec "$opensdn" "$@"
