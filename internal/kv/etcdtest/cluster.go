// Package etcdtest lends tests a real etcd: one or three members on loopback,
// each behind a proxy that can cut and delay it, that can be killed, restarted
// and paused. It ends with its test, and with the test's process.
package etcdtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec" //nolint:depguard // tests start etcd itself
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Config is what a test asks for. The zero value is one member, without TLS and
// users.
type Config struct {
	// Members is 1 or 3 (0 is 1).
	Members int
	// TLS has members speak TLS, with certificates of Cluster.CA.
	TLS bool
	// ClientCert has members ask for a certificate. It needs TLS.
	ClientCert bool
	// Auth makes User, with the right to read and write below Prefix.
	Auth bool
	// Prefix is that of URL and of Auth's right, "/dockstack" where it is empty.
	Prefix string
	// Args are more arguments for etcd.
	Args []string
}

// User and Password are whom Config.Auth makes.
const (
	User     = "dockstack"
	Password = "correct horse"
	// RootPassword is that of etcd's root, with Config.Auth.
	RootPassword = "battery staple"
)

// startTime bounds how long members take to agree, on a machine with other work.
const startTime = 60 * time.Second

// Cluster is an etcd.
type Cluster struct {
	tb      testing.TB
	cfg     Config
	members []*member
	certs   *Certs
}

// Start starts an etcd and waits until it answers.
func Start(tb testing.TB, cfg Config) *Cluster {
	tb.Helper()
	if _, err := exec.LookPath("etcd"); err != nil {
		tb.Fatal("etcd is missing: run `make deps`")
	}
	cfg.Members = max(cfg.Members, 1)
	if cfg.Prefix == "" {
		cfg.Prefix = "/dockstack"
	}
	c := &Cluster{tb: tb, cfg: cfg}
	if cfg.TLS {
		c.certs = NewCerts(tb)
	}
	ports, err := FreePorts(tb.Context(), 2*cfg.Members)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range cfg.Members {
		m := &member{c: c, name: fmt.Sprintf("m%d", i), dir: tb.TempDir(), client: ports[2*i], peer: ports[2*i+1]}
		m.proxy = newProxy(tb, m.client)
		c.members = append(c.members, m)
	}
	tb.Cleanup(c.stop)
	for i := range c.members {
		c.launch(i)
	}
	c.Ready()
	if cfg.Auth {
		c.makeUsers()
	}
	return c
}

// Endpoints are the members' addresses, as host:port, through their proxies.
func (c *Cluster) Endpoints() []string {
	var out []string
	for _, m := range c.members {
		out = append(out, m.proxy.addr)
	}
	return out
}

// URL is what DOCKSTACK_STORE takes.
func (c *Cluster) URL() string {
	scheme := "etcd://"
	if c.cfg.TLS {
		scheme = "etcds://"
	}
	return scheme + strings.Join(c.Endpoints(), ",") + c.cfg.Prefix
}

// Certs are the cluster's certificates, nil without Config.TLS.
func (c *Cluster) Certs() *Certs { return c.certs }

// Kill kills member i, as a power cut does. Its data stays.
func (c *Cluster) Kill(i int) {
	c.tb.Helper()
	c.members[i].kill()
}

// Restart starts member i again, where it does not run, and does not wait for
// it: see Ready.
func (c *Cluster) Restart(i int) {
	c.tb.Helper()
	if !c.members[i].running() {
		c.launch(i)
	}
}

// Save copies what member i, which must not run, has on its disk: a backup.
func (c *Cluster) Save(i int) (backup string) {
	c.tb.Helper()
	if c.members[i].running() {
		c.tb.Fatal("a member that runs can't be saved")
	}
	backup = c.tb.TempDir()
	if err := os.CopyFS(backup, os.DirFS(c.members[i].dir)); err != nil {
		c.tb.Fatal(err)
	}
	return backup
}

// PutBack has member i, which must not run, start from a backup of its own.
func (c *Cluster) PutBack(i int, backup string) {
	c.tb.Helper()
	if c.members[i].running() {
		c.tb.Fatal("a member that runs can't be put back")
	}
	c.members[i].dir = backup
}

// Pause stops member i's process, connections and all; Resume lets it go on.
func (c *Cluster) Pause(i int) {
	c.tb.Helper()
	c.members[i].signal(c.tb, pause)
	c.members[i].stopped(c.tb)
}

// Resume ends Pause.
func (c *Cluster) Resume(i int) {
	c.tb.Helper()
	c.members[i].signal(c.tb, resume)
}

// Cut has nothing pass between clients and member i, without telling either, as
// a network does that loses all packets. Members still reach each other.
func (c *Cluster) Cut(i int) { c.members[i].proxy.cut(true) }

// Mend ends Cut and Delay. What was under way when the member was cut is lost:
// connections of that time are closed.
func (c *Cluster) Mend(i int) {
	c.members[i].proxy.cut(false)
	c.members[i].proxy.delay(0)
}

// Delay has all that passes between clients and member i take d longer, each
// way.
func (c *Cluster) Delay(i int, d time.Duration) { c.members[i].proxy.delay(d) }

// Ready waits until all members that run take part in an agreement.
func (c *Cluster) Ready() {
	c.tb.Helper()
	deadline := time.Now().Add(startTime)
	for i, m := range c.members {
		if !m.running() {
			continue
		}
		for {
			err := c.ask(i)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				c.tb.Fatalf("etcd %s does not answer after %s: %v\n%s", m.name, startTime, err, m.log.tail())
			}
			pauseFor(20 * time.Millisecond)
		}
	}
}

// ask has member i agree with the others on something.
func (c *Cluster) ask(i int) error {
	cl, err := c.admin(i)
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = cl.Get(clientv3.WithRequireLeader(ctx), "dockstack-test")
	return err
}

// Leader is the number of the member that leads.
func (c *Cluster) Leader() int {
	c.tb.Helper()
	for deadline := time.Now().Add(startTime); time.Now().Before(deadline); pauseFor(20 * time.Millisecond) {
		for i, m := range c.members {
			if m.running() && c.leads(i) {
				return i
			}
		}
	}
	c.tb.Fatalf("etcd has no leader after %s", startTime)
	return -1
}

func (c *Cluster) leads(i int) bool {
	cl, err := c.admin(i)
	if err != nil {
		return false
	}
	defer func() { _ = cl.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	st, err := cl.Status(ctx, c.members[i].url())
	return err == nil && st.Leader == st.Header.MemberId
}

// Client is a client of all members, without the proxies, as root. The test
// closes it.
func (c *Cluster) Client() *clientv3.Client {
	c.tb.Helper()
	var all []int
	for i := range c.members {
		all = append(all, i)
	}
	cl, err := c.admin(all...)
	if err != nil {
		c.tb.Fatal(err)
	}
	return cl
}

func (c *Cluster) admin(members ...int) (*clientv3.Client, error) {
	cfg := clientv3.Config{Logger: zap.NewNop(), DialTimeout: 5 * time.Second}
	for _, i := range members {
		cfg.Endpoints = append(cfg.Endpoints, c.members[i].url())
		if c.members[i].users {
			cfg.Username, cfg.Password = "root", RootPassword
		}
	}
	if c.certs != nil {
		cfg.TLS = c.certs.clientConfig()
	}
	return clientv3.New(cfg)
}

func (c *Cluster) makeUsers() {
	c.tb.Helper()
	cl := c.Client()
	defer func() { _ = cl.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	below := strings.TrimSuffix(c.cfg.Prefix, "/") + "/"
	for _, step := range []func() error{
		func() error { _, err := cl.UserAdd(ctx, "root", RootPassword); return err },
		func() error { _, err := cl.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := cl.RoleAdd(ctx, User); return err },
		func() error {
			all := clientv3.PermissionType(clientv3.PermReadWrite)
			_, err := cl.RoleGrantPermission(ctx, User, below, clientv3.GetPrefixRangeEnd(below), all)
			return err
		},
		func() error { _, err := cl.UserAdd(ctx, User, Password); return err },
		func() error { _, err := cl.UserGrantRole(ctx, User, User); return err },
		func() error { _, err := cl.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			c.tb.Fatalf("make etcd's users: %v", err)
		}
	}
	for _, m := range c.members {
		m.users = true
	}
}

func (c *Cluster) stop() {
	for _, m := range c.members {
		m.kill()
		m.proxy.close()
	}
}

// FreePorts are ports of 127.0.0.1 that nobody has. They are below those that the
// kernel gives to connections (32768 and up unless it is told otherwise), which
// would now and then take one before etcd, or while etcd is down.
func FreePorts(ctx context.Context, n int) ([]int, error) {
	const low, high = 20000, 32768
	var out []int
	for tries := 0; len(out) < n; tries++ {
		port := low + rand.IntN(high-low) //nolint:gosec // any number does
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			if tries == 1000 {
				return nil, err
			}
			continue
		}
		// Held until all are found: none comes twice.
		defer func() { _ = l.Close() }()
		out = append(out, port)
	}
	return out, nil
}

func pauseFor(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}
