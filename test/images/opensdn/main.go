// Command opensdn stands for the entrypoint of one of OpenSDN's images, and for the process that it starts.
//
// It notes what it was told and what it makes of that as OpenSDN would: which address it calls its own, and which of the
// servers that it was told of take TCP connections. It listens where the process would, and ends on SIGTERM.
// What it noted is in /noted.json, and new every second.
//
// Its image says what it stands for: STANDIN_PORTS ("self:9042" is one of its own address alone, "config=8100" one for
// NODE_TYPE config), STANDIN_SELF (the variable with the list that it looks for itself in), STANDIN_PEERS (the kinds of
// servers that it asks), and STANDIN_ONCE if it ends after that.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// noted is /noted.json.
type noted struct {
	Args    []string          `json:"args"`
	Env     map[string]string `json:"env"`
	Self    string            `json:"self"`    // its address in the list of its own kind
	Reached []string          `json:"reached"` // servers by kind
	Missing []string          `json:"missing"`
}

const (
	path  = "/noted.json"
	every = time.Second
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "opensdn:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	n := noted{Args: os.Args[1:], Env: map[string]string{}}
	for _, pair := range os.Environ() {
		key, value, _ := strings.Cut(pair, "=")
		n.Env[key] = value
	}
	var err error
	if self := n.Env["STANDIN_SELF"]; self != "" {
		if n.Self, err = own(ctx, n.Env[self]); err != nil {
			return err
		}
	}
	for port := range strings.FieldsSeq(n.Env["STANDIN_PORTS"]) {
		if err := n.listen(ctx, port); err != nil {
			return err
		}
	}
	if len(n.Args) > 0 { // as if it had become its command, which its health check may look at
		if err := os.WriteFile("/proc/self/comm", []byte(filepath.Base(n.Args[0])), 0); err != nil {
			return err
		}
	}
	fmt.Println("started:", strings.Join(n.Args, " "))
	ask := time.NewTicker(every)
	defer ask.Stop()
	for {
		n.ask(ctx)
		if err := n.write(); err != nil {
			return err
		}
		if n.Env["STANDIN_ONCE"] != "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ask.C:
		}
	}
}

// own resolves every entry once, as OpenSDN does, and returns the first that is an address of this namespace. OpenSDN
// would go on with another address if there is none.
func own(ctx context.Context, list string) (string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for entry := range strings.SplitSeq(list, ",") {
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", entry)
		if err != nil || len(found) == 0 {
			continue
		}
		first := found[0].Unmap().String()
		if slices.ContainsFunc(addrs, func(a net.Addr) bool { return strings.HasPrefix(a.String(), first+"/") }) {
			return first, nil
		}
	}
	return "", fmt.Errorf("none of %q is this container, which has %v", list, addrs)
}

// listen accepts connections on a port: one of STANDIN_PORTS.
func (n *noted) listen(ctx context.Context, port string) error {
	if of, number, is := strings.Cut(port, "="); is && of != n.Env["NODE_TYPE"] {
		return nil
	} else if is {
		port = number
	}
	host, number, at := strings.Cut(port, ":")
	if !at {
		host, number = "", port
	} else if host == "self" {
		host = n.Self
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", net.JoinHostPort(host, number))
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return nil
}

// servers are where the peers of one kind are, by the variables that OpenSDN reads.
func (n *noted) servers(kind string) []string {
	ports := map[string]string{
		"ANALYTICS": "8081", "CONFIG": "8082", "CONFIGDB": n.Env["CONFIGDB_CQL_PORT"], "CONTROL": "5269", "DNS": "8093",
		"KAFKA": "9092", "RABBITMQ": n.Env["RABBITMQ_NODE_PORT"], "ZOOKEEPER": "2181",
	}
	switch kind {
	case "KEYSTONE":
		return []string{net.JoinHostPort(n.Env["KEYSTONE_AUTH_HOST"], "5000")}
	case "COLLECTOR", "REDIS", "ANALYTICSDB_CQL":
		return strings.Fields(n.Env[kind+"_SERVERS"])
	case "LOCAL_REDIS": // which OpenSDN's collector and web interface expect there, whatever they are told
		return []string{"127.0.0.1:6379"}
	case "JOBS":
		return []string{"127.0.0.1:3000"}
	}
	var all []string
	for host := range strings.SplitSeq(n.Env[kind+"_NODES"], ",") {
		all = append(all, net.JoinHostPort(host, ports[kind]))
	}
	return all
}

// ask tries all servers at once.
func (n *noted) ask(ctx context.Context) {
	type answer struct {
		name string
		err  error
	}
	answers, count := make(chan answer), 0
	for kind := range strings.FieldsSeq(n.Env["STANDIN_PEERS"]) {
		for _, address := range n.servers(kind) {
			count++
			go func() {
				c, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp4", address)
				if err == nil {
					_ = c.Close()
				}
				answers <- answer{kind + " " + address, err}
			}()
		}
	}
	n.Reached, n.Missing = []string{}, []string{}
	for range count {
		if a := <-answers; a.err == nil {
			n.Reached = append(n.Reached, a.name)
		} else {
			n.Missing = append(n.Missing, a.name+": "+a.err.Error())
		}
	}
	slices.Sort(n.Reached)
	slices.Sort(n.Missing)
}

// write replaces the file at once, so that nobody reads half of it.
func (n *noted) write() error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
