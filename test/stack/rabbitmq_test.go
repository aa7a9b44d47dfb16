package stack

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// rabbit is three nodes of RabbitMQ, with a durable queue and what is in it.
type rabbit struct {
	*cluster
	messages *int
}

func newRabbit(t *testing.T, opts Options, home ...int) rabbit {
	t.Helper()
	r := rabbit{newCluster(t, ForTest(t, opts), "rabbitmq-cluster", "rabbitmq", home...), new(int)}
	_, err := r.amqp(r.some(), "amqp-declare-queue", "-d -q kept")
	r.must(err)
	r.publish()
	return r
}

func (r rabbit) with(t *testing.T) rabbit {
	t.Helper()
	return rabbit{r.cluster.with(t), r.messages}
}

// amqp runs one of the tools of that name against a node.
func (r rabbit) amqp(node, tool, flags string) (string, error) {
	return r.in(node, "bash", "-c", fmt.Sprintf(`exec %s --server=localhost --username="${RABBIT_USER:-openstack}" --password="$ADMIN_PASSWORD" %s`, tool, flags))
}

// publish puts a persistent message into the queue by some node, and waits until it is there.
func (r rabbit) publish() {
	r.t.Helper()
	_, err := r.amqp(r.some(), "amqp-publish", fmt.Sprintf("-p -r kept -b message%d", *r.messages))
	r.must(err)
	*r.messages++
	r.kept("a message published")
}

// kept fails unless the queue has all messages.
func (r rabbit) kept(what string) {
	r.t.Helper()
	want := fmt.Sprintf("kept\t%d\t%d", *r.messages, *r.messages)
	r.eventually(what, wellLimit, func() string {
		got, err := r.in(r.some(), "rabbitmqctl", "--quiet", "list_queues", "--no-table-headers", "name", "messages", "messages_persistent")
		if err != nil || got != want {
			return fmt.Sprintf("queues: %q, want %q: %v", got, want, err)
		}
		return ""
	})
}

// whole fails unless all nodes are one cluster, know each other by name, and have all messages; then another is added.
func (r rabbit) whole(what string) {
	r.t.Helper()
	began := time.Now()
	var names []string
	for _, m := range r.members {
		names = append(names, "rabbit@"+m)
	}
	want := "[" + strings.Join(names, ",") + "]"
	r.eventually(what, wellLimit, func() string {
		for _, m := range r.members {
			got, err := r.in(m, "rabbitmqctl", "--quiet", "eval", "lists:sort(rabbit_mnesia:cluster_nodes(running)).")
			if err != nil || strings.Join(strings.Fields(got), "") != want {
				return fmt.Sprintf("%s: running are %s, want %s: %v", m, got, want, err)
			}
		}
		return ""
	})
	r.t.Logf("%s: one cluster of three after %.1f s", what, time.Since(began).Seconds())
	r.well(what)
	r.names(what)
	r.kept(what)
	r.publish()
}

// names fails unless every node finds every node's address by its name, and a name by its address that leads back.
func (r rabbit) names(what string) {
	r.t.Helper()
	for _, m := range r.members {
		for _, other := range r.members {
			addr := r.before[r.container(other)+" "+Network].IPv4
			out, err := r.in(m, "bash", "-c", `getent ahostsv4 "$0" | cut -d" " -f1 | sort -u
				name=$(getent hosts "$1" | awk '{print $2}')
				getent ahostsv4 "$name" | cut -d" " -f1 | sort -u`, other, addr)
			if got := strings.Fields(out); err != nil || !slices.Equal(got, []string{addr, addr}) {
				r.t.Errorf("%s: on %s, %s leads to, and %s back to, %v: want %s twice: %v", what, m, other, addr, got, addr, err)
			}
		}
	}
}

// drain takes every message out: each is there once, in order.
func (r rabbit) drain() {
	r.t.Helper()
	for n := range *r.messages {
		got, err := r.amqp(r.some(), "amqp-get", "-q kept")
		if want := fmt.Sprint("message", n); err != nil || got != want {
			r.t.Fatalf("message %d of %d is %q, want %q: %v", n, *r.messages, got, want, err)
		}
	}
	r.t.Logf("%d messages of %d are there, in order", *r.messages, *r.messages)
}

// TestRabbitMQStorms lets everything happen to three nodes on one host.
func TestRabbitMQStorms(t *testing.T) {
	Full(t)
	all := newRabbit(t, Options{}, 1, 1, 1)
	all.whole("at first")
	run := func(name string, do func(r rabbit)) {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			r := all.with(t)
			do(r)
			r.whole(name)
		})
	}
	run("a node killed", func(r rabbit) {
		r.kill9(r.members[1], "beam")
		r.eventually("a node killed", time.Minute, func() string {
			got, err := r.in(r.members[0], "rabbitmqctl", "--quiet", "eval", "length(rabbit_mnesia:cluster_nodes(running)).")
			if err != nil {
				return fmt.Sprintf("the others: %s %v", got, err)
			}
			return ""
		})
	})
	for _, o := range all.orders() {
		run(fmt.Sprintf("stopped %v started %v", o[0], o[1]), func(r rabbit) {
			r.each(o[0], "stop")
			r.each(o[1], "start")
		})
	}
	run("a volume lost", func(r rabbit) { r.move(r.members[0], 1, 1, false) })
	run("a node cut off", func(r rabbit) {
		lost := r.members[0]
		mend := r.cutOff(lost)
		r.eventually("the node that was cut off", 2*time.Minute, func() string {
			if out, err := r.in(lost, "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/5672"); err == nil {
				return "still takes clients " + out
			}
			return ""
		})
		mend()
	})
	for _, storm := range FixedStorms() {
		run(storm.Name, func(r rabbit) { r.must(storm.Do(r.t.Context(), r.Stack, r.what())) })
	}
	all.drain()
}

// TestRabbitMQMoves: nodes on two hosts, and one that goes from one to the other and back, with its data and without.
func TestRabbitMQMoves(t *testing.T) {
	Full(t)
	r := newRabbit(t, Options{Hosts: 2}, 1, 1, 2)
	r.whole("at first")
	r.move("rabbitmq2", 1, 2, true)
	r.whole("rabbitmq2 moved to the other host, with its data")
	r.move("rabbitmq2", 2, 1, false)
	r.whole("rabbitmq2 moved back, without its data")
	for _, name := range []string{"kill -9 of every container", "reboot of one host after the other", "reboot of all hosts at once"} {
		r.must(StormNamed(name).Do(t.Context(), r.Stack, What{}))
		r.whole(name)
	}
	r.drain()
}
