package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// startEtcd boots all members side by side; each waits for the others by itself.
func (l *Lab) startEtcd(ctx context.Context) error {
	if l.opts.Etcd == 0 {
		return nil
	}
	if l.opts.EtcdTLS {
		if err := l.certs().make(); err != nil {
			return fmt.Errorf("make etcd's certificates: %w", err)
		}
	}
	for i := 1; i <= l.opts.Etcd; i++ {
		l.Etcd = append(l.Etcd, newMember(l, i))
	}
	return eachMember(l.Etcd, func(m *Member) error { return m.boot(ctx) })
}

// Member returns etcd member number n, counted from 1.
func (l *Lab) Member(n int) *Member { return l.Etcd[n-1] }

// EtcdURL is what DOCKSTACK_STORE takes; empty in a lab without etcd.
func (l *Lab) EtcdURL() string {
	if len(l.Etcd) == 0 {
		return ""
	}
	var all []string
	for _, m := range l.Etcd {
		all = append(all, m.Addr+":2379")
	}
	scheme := "etcd://"
	if l.opts.EtcdTLS {
		scheme = "etcds://"
	}
	return scheme + strings.Join(all, ",")
}

// EtcdStart starts every member that does not run, and waits until all agree.
func (l *Lab) EtcdStart(ctx context.Context) error {
	if err := eachMember(l.Etcd, func(m *Member) error { return m.Start(ctx) }); err != nil {
		return err
	}
	return l.EtcdReady(ctx)
}

// EtcdStop stops every member that runs, at once.
func (l *Lab) EtcdStop(ctx context.Context) error {
	return eachMember(l.Etcd, func(m *Member) error {
		if m.PID() == 0 {
			return nil
		}
		return m.Stop(ctx)
	})
}

// EtcdKill9 kills every member that runs, at once.
func (l *Lab) EtcdKill9(ctx context.Context) error {
	return eachMember(l.Etcd, func(m *Member) error {
		if m.PID() == 0 {
			return nil
		}
		return m.Kill9(ctx)
	})
}

// EtcdReady waits until every member that runs takes part in an agreement.
func (l *Lab) EtcdReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, etcdWait)
	defer cancel()
	var running []*Member
	for _, m := range l.Etcd {
		if m.PID() != 0 {
			running = append(running, m)
		}
	}
	if len(running) == 0 {
		return errors.New("no etcd member runs")
	}
	return eachMember(running, func(m *Member) error {
		for {
			_, err := l.Etcdctl(ctx, "--endpoints", m.clientURL(), "endpoint", "health")
			if err == nil {
				return nil
			}
			if m.PID() == 0 {
				return fmt.Errorf("etcd %s ended while starting%s", m.Name, tail(m.Log()))
			}
			if wait(ctx, 100*time.Millisecond) != nil {
				return fmt.Errorf("etcd %s does not agree with the others after %s (%w)%s", m.Name, etcdWait, err, tail(m.Log()))
			}
		}
	})
}

// EtcdLeader returns the member that leads, once one does.
func (l *Lab) EtcdLeader(ctx context.Context) (*Member, error) {
	ctx, cancel := context.WithTimeout(ctx, etcdWait)
	defer cancel()
	for {
		m, err := l.etcdLeader(ctx)
		if err == nil || wait(ctx, 100*time.Millisecond) != nil {
			return m, err
		}
	}
}

func (l *Lab) etcdLeader(ctx context.Context) (*Member, error) {
	var asked []error
	for _, m := range l.Etcd {
		if m.PID() == 0 {
			continue
		}
		out, err := l.Etcdctl(ctx, "--endpoints", m.clientURL(), "endpoint", "status", "-w", "json")
		var all []struct {
			Status struct {
				Header struct {
					MemberID uint64 `json:"member_id"`
				} `json:"header"`
				Leader uint64 `json:"leader"`
			}
		}
		if err == nil {
			err = json.Unmarshal([]byte(out), &all)
		}
		if err != nil {
			asked = append(asked, err)
			continue
		}
		if s := all[0].Status; s.Leader != 0 && s.Leader == s.Header.MemberID {
			return m, nil
		}
	}
	return nil, fmt.Errorf("no etcd member says that it leads: %w", errors.Join(asked...))
}

// Etcdctl runs Debian's etcdctl against all members, from the underlay.
func (l *Lab) Etcdctl(ctx context.Context, args ...string) (string, error) {
	var all []string
	for _, m := range l.Etcd {
		all = append(all, m.clientURL())
	}
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(l.underlay.pid), "-n", "--", "etcdctl"}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "ETCDCTL_API=3"}
	if !slices.Contains(args, "--endpoints") { // it takes no setting twice
		cmd.Env = append(cmd.Env, "ETCDCTL_ENDPOINTS="+strings.Join(all, ","))
	}
	if l.opts.EtcdTLS {
		c := l.certs()
		cmd.Env = append(cmd.Env, "ETCDCTL_CACERT="+c.ca(), "ETCDCTL_CERT="+c.cert(clientCert), "ETCDCTL_KEY="+c.key(clientCert))
	}
	return output(cmd, "etcdctl "+strings.Join(args, " "))
}

func eachMember(members []*Member, do func(*Member) error) error {
	return each(members, func(m *Member) error {
		if err := do(m); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		return nil
	})
}

// each does something for all at once.
func each[T any](all []T, do func(T) error) error {
	errs := make(chan error, len(all))
	for _, v := range all {
		go func() { errs <- do(v) }()
	}
	var joined []error
	for range all {
		joined = append(joined, <-errs)
	}
	return errors.Join(joined...)
}
