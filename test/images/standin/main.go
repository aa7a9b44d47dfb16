// Command standin is the program of the tests' stand-in image: it stands for a server, and looks at its network from within.
//
// Without arguments, or with ones that it doesn't know (a compose file's `command:`), it listens on the TCP ports in
// $PORTS, if any, and waits until it is told to stop. Answers of the other commands are one line of JSON.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
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
`

func main() {
	go func() {
		// The first process of a container gets no default signal handling: without this, each stop takes 10 s.
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		<-stop
		os.Exit(0)
	}()
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return stand(strings.FieldsFunc(os.Getenv("PORTS"), func(r rune) bool { return r == ',' || r == ' ' }))
	}
	commands := map[string]struct {
		least int // arguments
		do    func(args []string) error
	}{
		"ifaces":    {0, func([]string) error { return ifaces() }},
		"resolve":   {2, resolve},
		"serve":     {1, stand},
		"get":       {1, get},
		"tcp-serve": {1, tcpServe},
		"tcp-send":  {2, tcpSend},
		"udp-serve": {1, udpServe},
		"udp-send":  {3, udpSend},
	}
	c, ok := commands[args[0]]
	if !ok {
		return stand(nil)
	}
	if len(args)-1 < c.least {
		return errors.New(args[0] + ": too few arguments\n" + usage)
	}
	return c.do(args[1:])
}

// stand accepts connections on the ports and then waits for the end.
func stand(ports []string) error {
	for _, p := range ports {
		l, err := net.Listen("tcp", ":"+p)
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
	select {}
}

func get(args []string) error {
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	defer c.Close()
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
