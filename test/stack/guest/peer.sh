#!/bin/busybox sh
# shellcheck shell=dash
# CGI: what this machine gets from the one whose address is asked for.
printf 'Content-Type: text/plain\r\n\r\n'
ping -c 3 -W 2 "$QUERY_STRING" | grep received
timeout 20 wget -q -O - "http://$QUERY_STRING/bytes" | sha256sum | cut -d' ' -f1
