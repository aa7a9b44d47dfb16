// Command pause owns the network namespace of a group of containers. It does nothing, and goes on doing it while the
// group's members end and start: it reaps what is left to it, ends with 0 when it is told to, and `pause healthy`
// says whether its namespace is connected to anything.
//
// It does without fmt and net, which would make the image twice as large.
package main

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// The kernel's table of the interfaces in the network namespace of who reads it.
const interfaces = "/proc/self/net/dev"

func main() {
	switch {
	case len(os.Args) == 1:
		wait()
	case len(os.Args) == 2 && os.Args[1] == "healthy":
		table, err := os.ReadFile(interfaces)
		if err != nil {
			end("pause: " + err.Error())
		}
		if !connected(string(table)) {
			end("pause: this network namespace has no interface beside lo: restart the container that owns it")
		}
	default:
		end("usage: pause [healthy]")
	}
}

func end(message string) {
	_, _ = os.Stderr.WriteString(message + "\n")
	os.Exit(1)
}

// wait returns at SIGTERM or SIGINT. As process 1 it has the orphans of all that share its PID namespace. What ends it has
// a channel of its own, so that any number of orphans can't crowd it out.
func wait() {
	told, orphans := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(orphans, syscall.SIGCHLD)
	for {
		reap() // at first those that ended before anybody listened
		select {
		case <-told:
			return
		case <-orphans:
		}
	}
}

func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err != syscall.EINTR && pid <= 0 {
			return
		}
	}
}

// connected finds an interface that isn't lo in the content of /proc/net/dev: two lines of headings, then
// "  eth0: 1296 16 ..." for each.
func connected(table string) bool {
	for line := range strings.Lines(table) {
		name, _, found := strings.Cut(line, ":")
		if found && strings.TrimSpace(name) != "lo" {
			return true
		}
	}
	return false
}
