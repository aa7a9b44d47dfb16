package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// realStack is the demo's: MariaDB, RabbitMQ, memcached and Redis.
const realStack = "demo"

// realImages makes the demo's images, where they are not made yet, and gives
// them to the host.
func (h *host) realImages() {
	h.t.Helper()
	root, err := lab.Root()
	h.check(err)
	const tar = "build/cache/demo-images.tar"
	cmd := exec.CommandContext(h.t.Context(), "make", tar)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("make %s: %v: %s", tar, err, out)
	}
	h.check(h.LoadImages(h.ctx(), filepath.Join(root, tar)))
}

// real runs docker-compose on the real servers.
func (h *host) real(args ...string) {
	h.t.Helper()
	_, err := h.Compose(h.ctx(), append([]string{"-p", realStack, "-f", "../demo/compose.yml"}, args...)...)
	h.check(err)
}

// talk is a few words of a server's own protocol.
type talk struct {
	server string
	port   uint16
	say    string
	// hear is what the answer has, within its first bytes.
	hear string
}

var talks = []talk{
	{"redis", 6379, "SET name dockstack\r\nGET name\r\n", "+OK\r\n$9\r\ndockstack\r\n"},
	{"memcached", 11211, "set name 0 0 9\r\ndockstack\r\nget name\r\n", "STORED\r\nVALUE name 0 9\r\ndockstack\r\n"},
	{"rabbitmq", 5672, "AMQP\x00\x00\x09\x01", "RabbitMQ"}, // its Connection.Start
	{"mariadb", 3306, "", "MariaDB"},                       // its handshake
}

// converse says a talk's words to addr and waits for the answer.
func (c talk) converse(addr string) error {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(addr, fmt.Sprint(c.port)), 3*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, c.say); err != nil {
		return err
	}
	var heard strings.Builder
	for in := bufio.NewReader(conn); !strings.Contains(heard.String(), c.hear); {
		b, err := in.ReadByte()
		if err != nil {
			return fmt.Errorf("heard %q, want %q: %w", heard.String(), c.hear, err)
		}
		heard.WriteByte(b)
	}
	return nil
}

// serves fails unless each real server answers in its protocol, at its
// address and under its DNS name, and MariaDB still has its data.
func (h *host) serves(what string, p picture) {
	h.t.Helper()
	for _, c := range talks {
		container := realStack + "-" + c.server + "-1"
		addr := p[container+" internal"].IPv4
		h.eventually(time.Minute, func() string {
			var err error
			h.inNet(func() { err = c.converse(addr) })
			if err != nil {
				return fmt.Sprintf("%s: %s at %s: %v", what, c.server, addr, err)
			}
			return ""
		})
	}
	h.answers(p)
	got := h.sql("SELECT name FROM demo.names")
	if got != "dockstack" {
		h.t.Errorf("%s: MariaDB has %q", what, got)
	}
	// A RabbitMQ node that doesn't find itself ends at once.
	got = h.docker("exec", realStack+"-rabbitmq-1", "rabbitmqctl", "--quiet", "eval", "node().")
	if got != "rabbit@rabbitmq" {
		h.t.Errorf("%s: RabbitMQ's node is %s", what, got)
	}
}

// sql asks MariaDB by its name in the network.
func (h *host) sql(query string) string {
	h.t.Helper()
	return h.docker("exec", realStack+"-mariadb-1", "mariadb", "--host=mariadb", "--user=root", "--password=demo", "--skip-column-names", "--batch", "--execute="+query)
}

// TestRealServers: what people run, restarted in other orders.
func TestRealServers(t *testing.T) {
	h := newHost(t)
	h.realImages()
	h.networks()
	t.Cleanup(func() { h.real("down", "-v", "-t", "2") })
	h.real("up", "-d", "--wait")
	before := h.picture("internal")
	if len(before) != len(talks) {
		t.Fatalf("%d attachments, want %d: %v", len(before), len(talks), before)
	}
	h.sql("CREATE DATABASE demo; CREATE TABLE demo.names (name TEXT); INSERT INTO demo.names VALUES ('dockstack')")
	h.serves("at first", before)
	for _, s := range []storm{
		{"stopped and started in another order", func(h *host) {
			h.stop(h.owners()...)
			h.startAll(reversed(h.owners()))
		}},
		{"down and up", func(h *host) {
			h.real("down", "-t", "2")
			// Others come in between, and get none of their addresses.
			for i := range 4 {
				h.run(fmt.Sprintf("other%d", i), "internal")
			}
		}},
	} {
		s.do(h)
		h.real("up", "-d", "--wait")
		for _, c := range before.Changed(h.picture("internal")) {
			t.Errorf("%s: %s", s.what, c)
		}
		h.serves(s.what, before)
	}
}

// TestRabbitMQCluster: two nodes under full names, in dockstack's zone, find
// themselves and each other, and do so again after both were made anew.
func TestRabbitMQCluster(t *testing.T) {
	h := newHost(t)
	h.realImages()
	h.hostResolvers(hostDNS)
	h.create("mesh", "--subnet", "172.30.0.0/24")
	nodes := []string{"rabbit-one", "rabbit-two"}
	start := func(name string) {
		full := name + ".dockstack"
		h.docker("run", "-d", "--name", name, "--network", "mesh", "--hostname", full, "-v", name+":/var/lib/rabbitmq",
			"-e", "RABBITMQ_USE_LONGNAME=true", "-e", "RABBITMQ_NODENAME=rabbit@"+full,
			"-e", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput -setcookie demo", "-e", "RABBITMQ_CTL_ERL_ARGS=-setcookie demo",
			"dockstack-demo/rabbitmq")
	}
	t.Cleanup(func() {
		h.clean()
		h.docker("volume", "rm", nodes[0], nodes[1])
	})
	for _, n := range nodes {
		start(n)
	}
	ctl := func(name string, args ...string) (string, error) {
		return h.try(append([]string{"exec", name, "rabbitmqctl", "--quiet", "--longnames"}, args...)...)
	}
	running := func() string {
		for _, n := range nodes {
			if out, err := ctl(n, "eval", "lists:sort(rabbit_mnesia:cluster_nodes(running))."); err != nil ||
				strings.Join(strings.Fields(out), "") != "['rabbit@rabbit-one.dockstack','rabbit@rabbit-two.dockstack']" {
				return fmt.Sprintf("%s says that there run %s, %v", n, out, err)
			}
		}
		return ""
	}
	h.eventually(5*time.Minute, func() string {
		for _, n := range nodes {
			if _, err := ctl(n, "await_startup", "--timeout", "20"); err != nil {
				return err.Error()
			}
		}
		return ""
	})
	for _, args := range [][]string{{"stop_app"}, {"join_cluster", "rabbit@rabbit-one.dockstack"}, {"start_app"}} {
		if _, err := ctl("rabbit-two", args...); err != nil {
			t.Fatal(err)
		}
	}
	h.eventually(5*time.Minute, running)
	before := h.picture("mesh")

	h.remove(nodes...)
	h.run("between", "mesh")
	for _, n := range reversed(nodes) {
		start(n)
	}
	h.eventually(5*time.Minute, running)
	for _, c := range before.Changed(h.picture("mesh")) {
		t.Error(c)
	}
	h.answers(before)
	for _, n := range nodes {
		// The name under which a node knows itself is its address' name.
		out, err := ctl(n, "eval", "net_adm:localhost().")
		if err != nil || strings.Trim(out, `"`) != n+".dockstack" {
			t.Errorf("%s finds itself as %s, %v", n, out, err)
		}
		h.reverse(before[n+" mesh"].IPv4, n)
	}
}
