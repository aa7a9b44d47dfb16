#!/bin/bash
# OpenSDN's Cassandra.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

setting CASSANDRA_SEEDS "$CASSANDRA_SERVER" 'all Cassandras, this one too'
setting CASSANDRA_CLUSTER_NAME contrail_database 'what the cluster is called'
setting CASSANDRA_PORT 9160 'Thrift port'
setting CASSANDRA_CQL_PORT 9042 'CQL port'
setting NODE_TYPE config-database 'what kind of node it is'
passed=(CASSANDRA_SEEDS CASSANDRA_CLUSTER_NAME CASSANDRA_PORT CASSANDRA_CQL_PORT NODE_TYPE)

# The database keeps this address, and the others know it by it.
we_are CASSANDRA_SEEDS "$INTERFACE_INT"
told
exec "$opensdn" "$@"
