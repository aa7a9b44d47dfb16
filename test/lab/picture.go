package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Attachment is what must stay of a container in a network of ours.
type Attachment struct {
	IPv4, IPv6, MAC string
}

// Picture is containers' attachments, by "container network".
type Picture map[string]Attachment

// Container is the part of `docker inspect` that tests look at.
type Container struct {
	ID         string `json:"Id"`
	Name       string
	Config     struct{ Image string }
	HostConfig struct{ NetworkMode string }
	State      struct {
		Pid     int
		Status  string
		Running bool
		Error   string
		Health  *struct{ Status string }
	}
	NetworkSettings struct {
		Networks map[string]struct {
			NetworkID         string
			IPAddress         string
			GlobalIPv6Address string
			MacAddress        string
		}
	}
}

// Containers returns every container of the host, running or not.
func (h *Host) Containers(ctx context.Context) ([]Container, error) {
	var out string
	var err error
	for range 20 {
		// One that is being removed may go between the two questions.
		if out, err = h.inspectAll(ctx); err == nil || !strings.Contains(err.Error(), "no such object") {
			break
		}
	}
	if err != nil || out == "" {
		return nil, err
	}
	var all []Container
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("%s: read docker inspect: %w", h.Name, err)
	}
	for i := range all {
		all[i].Name = strings.TrimPrefix(all[i].Name, "/")
	}
	return all, nil
}

func (h *Host) inspectAll(ctx context.Context) (string, error) {
	ids, err := h.Docker(ctx, "ps", "-aq", "--no-trunc")
	if err != nil || strings.TrimSpace(ids) == "" {
		return "", err
	}
	return h.Docker(ctx, append([]string{"inspect"}, strings.Fields(ids)...)...)
}

// Picture takes every container's attachments to the given networks.
func (h *Host) Picture(ctx context.Context, networks ...string) (Picture, error) {
	all, err := h.Containers(ctx)
	if err != nil {
		return nil, err
	}
	p := Picture{}
	for _, c := range all {
		for name, n := range c.NetworkSettings.Networks {
			if slices.Contains(networks, name) {
				p[c.Name+" "+name] = Attachment{n.IPAddress, n.GlobalIPv6Address, n.MacAddress}
			}
		}
	}
	return p, nil
}

// Changed lists what of p is otherwise in now, a line each.
func (p Picture) Changed(now Picture) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(p)) {
		if got, ok := now[key]; !ok {
			out = append(out, key+": gone")
		} else if got != p[key] {
			out = append(out, fmt.Sprintf("%s: was %v, is %v", key, p[key], got))
		}
	}
	return out
}
