package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

type iface struct {
	Name  string   `json:"name"`
	MAC   string   `json:"mac"`
	MTU   int      `json:"mtu"`
	Addrs []string `json:"addrs"` // with their prefix length
}

func ifaces() error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	all := []iface{}
	for _, l := range links {
		i := iface{Name: l.Name, MAC: l.HardwareAddr.String(), MTU: l.MTU, Addrs: []string{}}
		addrs, err := l.Addrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			i.Addrs = append(i.Addrs, a.String())
		}
		all = append(all, i)
	}
	return say(all)
}

type answer struct {
	Name    string   `json:"name"`
	Answers []string `json:"answers"`
	Error   string   `json:"error,omitempty"`
	NoName  bool     `json:"no_name,omitempty"` // the resolver said that there is no such name or no such record
}

func resolve(ctx context.Context, args []string) error {
	r := &net.Resolver{PreferGo: true}
	if len(args) > 2 {
		server := args[2]
		if _, _, err := net.SplitHostPort(server); err != nil {
			server = net.JoinHostPort(server, "53")
		}
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	a := answer{Name: args[1], Answers: []string{}}
	var err error
	switch strings.ToUpper(args[0]) {
	case "A", "AAAA":
		family := map[string]string{"A": "ip4", "AAAA": "ip6"}[strings.ToUpper(args[0])]
		var addrs []netip.Addr
		addrs, err = r.LookupNetIP(ctx, family, args[1])
		for _, addr := range addrs {
			a.Answers = append(a.Answers, addr.Unmap().String())
		}
	case "PTR":
		a.Answers, err = r.LookupAddr(ctx, args[1])
	default:
		return fmt.Errorf("resolve %s: want A, AAAA or PTR", args[0])
	}
	if err != nil {
		a.Error = err.Error()
		var e *net.DNSError
		a.NoName = errors.As(err, &e) && e.IsNotFound
	}
	slices.Sort(a.Answers)
	return say(a)
}
