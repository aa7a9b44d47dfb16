package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
)

// inspected is what an inspect answers of a container on one network.
func inspected(t *testing.T, network, endpoint string, aliases ...string) container.InspectResponse {
	t.Helper()
	text := fmt.Sprintf(`{"Config":{"ExposedPorts":{"5672/tcp":{},"53/udp":{}}},"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"8080"}],"5672/tcp":[]}},
		"NetworkSettings":{"Networks":{"x":{"NetworkID":%q,"EndpointID":%q,"Aliases":["%s"]}}}}`, network, endpoint, strings.Join(aliases, `","`))
	var out container.InspectResponse
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// asked is an engine that is inspected by hand.
type asked struct {
	mu     sync.Mutex
	ids    []string // guarded by mu
	answer func(ctx context.Context, id string) (container.InspectResponse, error)
}

func (a *asked) inspect(ctx context.Context, id string) (container.InspectResponse, error) {
	a.mu.Lock()
	a.ids = append(a.ids, id)
	a.mu.Unlock()
	return a.answer(ctx, id)
}

func (a *asked) times() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.ids)
}

// inspects starts an inspector whose clock is its test's.
func inspects(t *testing.T, a *asked) (in *inspector, pass func(time.Duration)) {
	t.Helper()
	in = newInspector(a.inspect, Config{Log: slog.New(slog.DiscardHandler), Ours: func(n string) bool { return n == "ours" }})
	var mu sync.Mutex
	now := time.Unix(1000, 0)
	in.now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { in.run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return in, func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
}

func on(id, network, endpoint string) Container {
	return Container{ID: id, Name: id, Running: true, On: []Attachment{{Network: network, Endpoint: endpoint}}}
}

func (in *inspector) filled(all ...Container) []Container {
	p := Picture{Containers: all}
	in.fill(&p)
	return p.Containers
}

func heard(t *testing.T, in *inspector) {
	t.Helper()
	select {
	case <-in.news:
	case <-time.After(time.Minute):
		t.Fatal("no news came")
	}
}

func TestContainersAreInspectedOnce(t *testing.T) {
	a := &asked{}
	a.answer = func(_ context.Context, id string) (container.InspectResponse, error) {
		return inspected(t, "ours", "e-"+id, "www", "web", "www"), nil
	}
	in, _ := inspects(t, a)
	stopped := on("stopped", "ours", "e")
	stopped.Running = false
	pic := []Container{on("c1", "ours", "e-c1"), on("other", "bridge", "e-other"), stopped}
	if got := in.filled(pic...); got[0].Known || got[0].Ports != nil {
		t.Errorf("it is known already: %+v", got[0])
	}
	heard(t, in)
	for range 3 {
		got := in.filled(on("c1", "ours", "e-c1"), on("other", "bridge", "e-other"))[0]
		want := []Port{{53, "udp"}, {80, "tcp"}, {5672, "tcp"}}
		if !got.Known || !slices.Equal(got.Ports, want) || !slices.Equal(got.On[0].Aliases, []string{"web", "www"}) {
			t.Errorf("it is %+v", got)
		}
	}
	if a.times() != 1 {
		t.Errorf("asked for %v", a.ids)
	}
	// Started again it has another endpoint.
	a.answer = func(_ context.Context, _ string) (container.InspectResponse, error) {
		return inspected(t, "ours", "e2", "new"), nil
	}
	if got := in.filled(on("c1", "ours", "e2"))[0]; got.Known {
		t.Errorf("it is known from before: %+v", got)
	}
	heard(t, in)
	if got := in.filled(on("c1", "ours", "e2"))[0]; !got.Known || got.On[0].Aliases[0] != "new" {
		t.Errorf("it is %+v", got)
	}
	// What is gone is forgotten.
	in.filled()
	if len(in.known)+len(in.rests) != 0 {
		t.Errorf("it keeps %v, %v", in.known, in.rests)
	}
}

// An engine that holds a container's lock does not answer. It is left alone
// then, ever longer, and others are asked meanwhile.
func TestLockedContainerIsLeftAlone(t *testing.T) {
	a := &asked{}
	stuck := make(chan struct{})
	a.answer = func(ctx context.Context, id string) (container.InspectResponse, error) {
		if id == "locked" {
			select {
			case stuck <- struct{}{}:
			case <-ctx.Done():
			}
			return container.InspectResponse{}, errors.New("given up")
		}
		return inspected(t, "ours", "e-"+id), nil
	}
	in, pass := inspects(t, a)
	all := []Container{on("locked", "ours", "e-locked"), on("free", "ours", "e-free")}
	in.filled(all...)
	heard(t, in) // of the free one
	<-stuck
	rested := func() time.Duration {
		in.mu.Lock()
		defer in.mu.Unlock()
		return in.rests["locked"].next
	}
	until(t, func() bool { return rested() == firstRest })
	before := a.times()
	in.filled(all...)
	if wait := in.wait(); wait != firstRest {
		t.Errorf("the next look is in %v", wait)
	}
	for want := 2 * firstRest; want < 2*lastRest; want *= 2 {
		pass(lastRest)
		in.filled(all...)
		<-stuck
		until(t, func() bool { return rested() == min(want, lastRest) })
	}
	if n := a.times() - before; n > 10 {
		t.Errorf("asked %d times", n)
	}
	if wait := in.wait(); wait != refresh {
		t.Errorf("the next look is in %v", wait)
	}
}

// The list and the inspect may be of different moments.
func TestInspectOfAnotherMoment(t *testing.T) {
	a := &asked{}
	a.answer = func(context.Context, string) (container.InspectResponse, error) {
		return inspected(t, "ours", "other"), nil
	}
	in, pass := inspects(t, a)
	in.filled(on("c1", "ours", "e1"))
	until(t, func() bool { in.mu.Lock(); defer in.mu.Unlock(); return in.rests["c1"].next == firstRest })
	pass(firstRest)
	in.filled(on("c1", "ours", "other"))
	heard(t, in)
	if got := in.filled(on("c1", "ours", "other"))[0]; !got.Known {
		t.Errorf("it is %+v", got)
	}
}

func until(t *testing.T, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(limit) {
			t.Fatal("it never came about")
		}
		time.Sleep(time.Millisecond)
	}
}

// An alias that is the container's name is none of the user's: it must not
// outlive a rename.
func TestNamesAreNoAliases(t *testing.T) {
	found := inspected(t, "ours", "e1", "web", "shop-web-1", "shop_web_1", "solo", "www")
	found.Name = "/solo"
	found.Config.Labels = map[string]string{labelProject: "shop", labelService: "web", labelNumber: "1"}
	if got := detailsOf(&found).on["e1"].Aliases; !slices.Equal(got, []string{"web", "www"}) {
		t.Errorf("aliases are %v", got)
	}
}

// What the engine's list says of a container.
func TestListedContainer(t *testing.T) {
	text := `{"Id":"c1","Names":["/web-1"],"State":"running","Health":{"Status":"unhealthy"},
		"Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web","com.docker.compose.oneoff":"False","dockstack.health":"on","other":"x"},
		"NetworkSettings":{"Networks":{"a":{"NetworkID":"n1","EndpointID":"e1"},"b":{"NetworkID":"n2","EndpointID":""}}}}`
	tests := []struct {
		what      string
		old, with string
		want      string
	}{
		{"a replica", "", "", "web-1 running shop/web unhealthy on=1 map[dockstack.health:on]"},
		{"without a check", "unhealthy", "none", "web-1 running shop/web  on=1 map[dockstack.health:on]"},
		{"one command", "False", "True", "web-1 running / unhealthy on=1 map[dockstack.health:on]"},
		{"stopped", `"running"`, `"exited"`, "web-1 off shop/web unhealthy on=0 map[dockstack.health:on]"},
		{"another's network", `"Names"`, `"HostConfig":{"NetworkMode":"container:c0"},"Names"`, "web-1 running in c0 shop/web unhealthy on=1 map[dockstack.health:on]"},
		{"its own", `"Names"`, `"HostConfig":{"NetworkMode":"internal"},"Names"`, "web-1 running shop/web unhealthy on=1 map[dockstack.health:on]"},
		{"paused", `"running"`, `"paused"`, "web-1 running shop/web unhealthy on=1 map[dockstack.health:on]"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			var s container.Summary
			if err := json.Unmarshal([]byte(strings.Replace(text, tt.old, tt.with, 1)), &s); err != nil {
				t.Fatal(err)
			}
			var p Picture
			p.add(&s)
			c := p.Containers[0]
			state := "off"
			if c.Running {
				state = "running"
			}
			if c.Shares != "" {
				state += " in " + c.Shares
			}
			if got := fmt.Sprintf("%s %s %s/%s %s on=%d %v", c.Name, state, c.Project, c.Service, c.Health, len(c.On), c.Labels); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
