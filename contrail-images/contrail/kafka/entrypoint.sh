#!/bin/bash
# OpenSDN's Kafka, which alarms go through.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

setting ADVERTISED_PORT 9092 'port that it listens on, by the original name'
setting KAFKA_PORT "$ADVERTISED_PORT" 'port that it listens on'
passed=(KAFKA_NODES KAFKA_PORT ZOOKEEPER_NODES)

# OpenSDN finds itself among KAFKA_NODES, or ends and is started again. This image is not the others' distribution.
told
any_answers "$ZOOKEEPER_NODES" 2181
exec "$opensdn" "$@"
