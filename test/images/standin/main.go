// Command standin is the program of the tests' stand-in image: it stands for a server, and looks at its network from within.
//
// Without arguments, or with ones that it doesn't know (a compose file's `command:`), it listens on the TCP ports in
// $PORTS, if any, and waits until it is told to stop. Answers of the other commands are one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const usage = `commands:
  ifaces                          interfaces with their MACs, MTUs and addresses
  resolve A|AAAA|PTR name [server[:port]]
  serve port...                   accept TCP connections, send the host name, close
  get host:port                   connect and print what serve sends
  tcp-serve port                  count and hash what each connection sends
  tcp-send host:port bytes        send that much and compare the hash
  udp-serve port                  count datagrams, and say how many when asked
  udp-send host:port count size [gso]   send datagrams, in one segmented call if gso, and ask how many arrived
  token-load url clients seconds  have a Keystone validate tokens, and count
`

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	go func() {
		// The first process of a container gets no default signal handling: without this, each stop takes 10 s.
		<-ctx.Done()
		os.Exit(0)
	}()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return stand(ctx, strings.FieldsFunc(os.Getenv("PORTS"), func(r rune) bool { return r == ',' || r == ' ' }))
	}
	commands := map[string]struct {
		least int // arguments
		do    func(ctx context.Context, args []string) error
	}{
		"ifaces":     {0, func(context.Context, []string) error { return ifaces() }},
		"resolve":    {2, resolve},
		"serve":      {1, stand},
		"get":        {1, get},
		"tcp-serve":  {1, tcpServe},
		"tcp-send":   {2, tcpSend},
		"udp-serve":  {1, udpServe},
		"udp-send":   {3, udpSend},
		"token-load": {3, tokenLoad},
	}
	c, ok := commands[args[0]]
	if !ok {
		return stand(ctx, nil)
	}
	if len(args)-1 < c.least {
		return errors.New(args[0] + ": too few arguments\n" + usage)
	}
	return c.do(ctx, args[1:])
}

// stand accepts connections on the ports and then waits for the end.
func stand(ctx context.Context, ports []string) error {
	for _, p := range ports {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+p)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				name, _ := os.Hostname()
				_, _ = fmt.Fprintln(c, name)
				_ = c.Close()
			}
		}()
	}
	<-ctx.Done()
	return nil
}

func get(ctx context.Context, args []string) error {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", args[0])
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	var name string
	if _, err := fmt.Fscanln(c, &name); err != nil {
		return err
	}
	fmt.Println(name)
	return nil
}

func number(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a count", text)
	}
	return n, nil
}

func say(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }
