package stack

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// galera is three members of Galera, and the rows that they have to have.
type galera struct {
	*cluster
	rows *int
}

func newGalera(t *testing.T, opts Options, home ...int) galera {
	t.Helper()
	g := galera{newCluster(t, ForTest(t, opts), "galera", "galera", home...), new(int)}
	g.sql(g.some(), "CREATE DATABASE kept; CREATE TABLE kept.rows (n INT PRIMARY KEY)")
	g.write()
	return g
}

func (g galera) with(t *testing.T) galera {
	t.Helper()
	return galera{g.cluster.with(t), g.rows}
}

// ask queries a member as its root does, by the socket.
func (g galera) ask(member, query string) (string, error) {
	return g.in(member, "mariadb", "--batch", "--skip-column-names", "--execute="+query)
}

func (g galera) sql(member, query string) string {
	g.t.Helper()
	out, err := g.ask(member, query)
	g.must(err)
	return out
}

// write adds a row by some member.
func (g galera) write() {
	g.t.Helper()
	*g.rows++
	g.sql(g.some(), fmt.Sprintf("INSERT INTO kept.rows VALUES (%d)", *g.rows))
}

// whole fails unless every member is part of one cluster of three, serves, and has every row; then another is added.
func (g galera) whole(what string) {
	g.t.Helper()
	began := time.Now()
	g.eventually(what, wellLimit, func() string {
		for _, m := range g.members {
			if got, err := g.ask(m, "SHOW STATUS LIKE 'wsrep_cluster_size'"); err != nil || got != "wsrep_cluster_size\t3" {
				return fmt.Sprintf("%s: %q %v", m, got, err)
			}
			// Whoever is asked waits until it has what the others had when it was asked.
			got, err := g.ask(m, "SET SESSION wsrep_sync_wait = 1; SELECT COUNT(*), MAX(n) FROM kept.rows")
			if want := fmt.Sprintf("%d\t%d", *g.rows, *g.rows); err != nil || got != want {
				return fmt.Sprintf("%s has the rows %q, want %q: %v", m, got, want, err)
			}
		}
		return ""
	})
	g.t.Logf("%s: one cluster of three, with all %d rows on each, after %.1f s", what, *g.rows, time.Since(began).Seconds())
	g.well(what)
	g.sameAddresses(what)
	g.write()
}

// sameAddresses fails unless every member still knows the others by the addresses that it was given once, and these are
// the ones that they have.
func (g galera) sameAddresses(what string) {
	g.t.Helper()
	var list []string
	for _, m := range g.members {
		list = append(list, g.before[g.container(m)+" "+Network].IPv4)
	}
	want := "gcomm://" + strings.Join(list, ",")
	for _, m := range g.members {
		if got := g.sql(m, "SELECT @@wsrep_cluster_address"); got != want {
			g.t.Errorf("%s: %s knows the cluster by %s, want %s", what, m, got, want)
		}
	}
}

// TestGalera: a member that is killed comes back, and so do all three.
func TestGalera(t *testing.T) {
	g := newGalera(t, Options{}, 1, 1, 1)
	g.killed()
	g.must(killAll(t.Context(), g.Host(1)))
	g.whole("all three killed at once")
}

// killed kills a member, writes meanwhile, and finds that it only got what it missed.
func (g galera) killed() {
	g.t.Helper()
	killed := g.members[1]
	h := g.holder(killed)
	since := time.Now()
	g.kill9(killed, "mariadbd")
	*g.rows++
	g.sql(g.members[0], fmt.Sprintf("INSERT INTO kept.rows VALUES (%d)", *g.rows))
	g.whole("a member killed")
	log, err := h.DockerCommand(g.t.Context(), "logs", "--since", since.Format(time.RFC3339Nano), g.container(killed)).CombinedOutput()
	g.must(err)
	if !strings.Contains(string(log), "IST received") {
		g.t.Errorf("%s came back without an incremental transfer:\n%s", killed, log)
	}
}

// TestGaleraStorms lets everything happen to three members on one host.
func TestGaleraStorms(t *testing.T) {
	Full(t)
	all := newGalera(t, Options{}, 1, 1, 1)
	run := func(name string, do func(g galera)) {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			g := all.with(t)
			do(g)
			g.whole(name)
		})
	}
	run("a member killed", galera.killed)
	for _, o := range all.orders() {
		run(fmt.Sprintf("stopped %v started %v", o[0], o[1]), func(g galera) {
			g.each(o[0], "stop")
			g.each(o[1], "start")
		})
	}
	run("two killed", func(g galera) {
		for _, m := range g.members[:2] {
			g.kill9(m, "mariadbd")
		}
	})
	run("a volume lost", func(g galera) { g.loseVolume(g.members[0]) })
	run("a first transfer interrupted", func(g galera) {
		g.loseVolume(g.members[2])
		h := g.Host(1)
		g.eventually("the transfer", time.Minute, func() string {
			if _, err := g.in(g.members[2], "test", "-e", "/var/lib/mysql/data/sst_in_progress"); err != nil {
				return err.Error()
			}
			return ""
		})
		_, err := h.Docker(g.t.Context(), "kill", g.container(g.members[2]))
		g.must(err)
		g.each(g.members[2:], "start")
	})
	run("one alone begins nothing", galera.alone)
	run("a member cut off", galera.cut)
	for _, storm := range FixedStorms() {
		run(storm.Name, func(g galera) { g.must(storm.Do(g.t.Context(), g.Stack, g.what())) })
	}
}

func (g galera) loseVolume(member string) {
	g.t.Helper()
	_, err := g.Compose(g.t.Context(), g.Host(1), []string{g.file}, "rm", "--stop", "--force", member)
	g.must(err)
	_, err = g.Host(1).Docker(g.t.Context(), "volume", "rm", "openstack_"+member)
	g.must(err)
	g.launch(1, member)
}

// alone stops all and starts two: they wait for the third, and say so, for it may have what they lack.
func (g galera) alone() {
	g.t.Helper()
	g.each(g.members[:2], "stop")
	g.eventually("the last one left", time.Minute, func() string {
		_, err := g.ask(g.members[2], fmt.Sprintf("INSERT INTO kept.rows VALUES (%d)", *g.rows+1))
		if err != nil {
			return err.Error()
		}
		return ""
	})
	*g.rows++
	g.each(g.members[2:], "stop")
	since := time.Now()
	g.each(g.members[:2], "start")
	time.Sleep(15 * time.Second)
	for _, m := range g.members[:2] {
		if out, err := g.ask(m, "SELECT 1"); err == nil {
			g.t.Errorf("%s serves without %s: %s", m, g.members[2], out)
		}
		log, err := g.Host(1).DockerCommand(g.t.Context(), "logs", "--since", since.Format(time.RFC3339Nano), g.container(m)).CombinedOutput()
		g.must(err)
		if !strings.Contains(string(log), "waiting for "+g.members[2]) {
			g.t.Errorf("%s does not say for whom it waits:\n%s", m, log)
		}
	}
	g.each(g.members[2:], "start")
}

// cut takes one member's network away. It serves nobody then, also not after its container was restarted; the others
// serve on.
func (g galera) cut() {
	g.t.Helper()
	lost := g.members[0]
	mend := g.cutOff(lost)
	g.eventually("the member that was cut off", time.Minute, func() string {
		if out, err := g.ask(lost, "SELECT COUNT(*) FROM kept.rows"); err == nil {
			return "serves " + out
		}
		return ""
	})
	*g.rows++
	g.sql(g.members[1], fmt.Sprintf("INSERT INTO kept.rows VALUES (%d)", *g.rows))
	if out, err := g.ask(lost, fmt.Sprintf("INSERT INTO kept.rows VALUES (%d)", *g.rows)); err == nil {
		g.t.Errorf("%s took a row while it was cut off: %s", lost, out)
	}
	mend()
}

// TestGaleraMoves: members on two hosts, and one that goes from one to the other and back, with its data and without.
func TestGaleraMoves(t *testing.T) {
	Full(t)
	g := newGalera(t, Options{Hosts: 2}, 1, 1, 2)
	g.whole("at first")
	g.move("galera2", 1, 2, true)
	g.whole("galera2 moved to the other host, with its data")
	g.move("galera2", 2, 1, false)
	g.whole("galera2 moved back, without its data")
	g.move("galera1", 1, 2, true)
	g.whole("galera1 moved to the other host, with its data")
	for _, name := range []string{"kill -9 of every container", "reboot of one host after the other", "reboot of all hosts at once"} {
		g.must(StormNamed(name).Do(t.Context(), g.Stack, What{}))
		g.whole(name)
	}
}
