#!/bin/bash
# Rally: load on HTTP APIs, measured. Without a command it asks a URL again and again, and fails if that does.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh

setting RALLY_URL '' "URL that the built-in task asks; Keystone's if empty"
RALLY_URL=${RALLY_URL:-$keystone_url/v3}
setting RALLY_STATUS 200 'HTTP status that it is to answer with'
setting RALLY_TIMES 100 'requests'
setting RALLY_CONCURRENCY 4 'requests at once'
setting RALLY_FAILURES 0 'share of requests that may fail, in percent'

config /etc/rally/rally.conf rally <<-EOF
	[DEFAULT]
	log_dir =
	use_stderr = true
	[database]
	connection = sqlite:////var/lib/rally/rally.sqlite
EOF
URL=$RALLY_URL jq -n \
	--argjson status "$RALLY_STATUS" --argjson times "$RALLY_TIMES" --argjson concurrency "$RALLY_CONCURRENCY" --argjson failures "$RALLY_FAILURES" '{
		version: 2, title: "an API under load", subtasks: [{
			title: env.URL,
			scenario: {"HttpRequests.check_request": {url: env.URL, method: "GET", status_code: $status}},
			runner: {constant: {times: $times, concurrency: $concurrency}},
			sla: {failure_rate: {max: $failures}}}]}' | config /etc/rally/task.json rally
rendered

rally db ensure
rally env show stack >/dev/null 2>&1 || rally env create --name stack
if [ $# -eq 0 ]; then
	host=${RALLY_URL#*://} port=80
	host=${host%%/*}
	[[ $RALLY_URL != https:* ]] || port=443
	[[ $host != *:* ]] || port=${host##*:} host=${host%:*}
	wait_for "$host" "$port"
	set -- rally task start /etc/rally/task.json
fi
exec "$@"
