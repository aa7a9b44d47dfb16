#!/bin/bash
# ebtables as Neutron's linuxbridge agent finds it. The agent keeps a list of MAC addresses in one rule (--among-src) and
# deletes that rule to change it. Debian 12's ebtables can't delete such rules ("Invalid argument"), and the agent tries
# again forever: a node would wire nothing more. Here the list is a rule for each address, made anew at every change.
rule="^(.*) -([ID]) ([^ ]+) (.*) --among-src ([^ ]+) (.*)$"
[[ $* =~ $rule ]] || exec /usr/sbin/ebtables "$@"
read -ra table <<<"${BASH_REMATCH[1]}"
chain=${BASH_REMATCH[3]}
read -ra match <<<"${BASH_REMATCH[4]}"
IFS=, read -ra addresses <<<"${BASH_REMATCH[5]}"
read -ra target <<<"${BASH_REMATCH[6]}"
[ "${BASH_REMATCH[2]}" = I ] || exit 0 # what it would change to follows at once

set -e
/usr/sbin/ebtables "${table[@]}" -F "$chain"
/usr/sbin/ebtables "${table[@]}" -A "$chain" -j DROP
for address in "${addresses[@]}"; do
	/usr/sbin/ebtables "${table[@]}" -I "$chain" "${match[@]}" -s "$address" "${target[@]}"
done
