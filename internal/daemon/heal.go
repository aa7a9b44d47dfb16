package daemon

import (
	"context"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/heal"
)

const envHeal = "DOCKSTACK_HEAL"

// readHeal reads whether containers without a network are restarted.
func (c *config) readHeal(mind func(name, want string)) {
	c.heal = true
	switch strings.ToLower(env(envHeal, "on")) {
	case "on", "true", "1":
	case "off", "false", "0":
		c.heal = false
	default:
		mind(envHeal, "on or off")
	}
}

// buildHealer makes what brings containers back whose network namespace ended.
func (p *parts) buildHealer() error {
	var err error
	if p.hands, err = engine.Open(p.cfg.host(engineSocket)); err != nil {
		return err
	}
	p.healer = heal.New(heal.Config{Engine: p.hands, Ours: p.ours, Off: !p.cfg.heal, Done: p.healed, Log: p.log})
	return nil
}

// heal heals until ctx ends.
func (p *parts) heal(ctx context.Context) {
	defer p.hands.Close()
	p.healer.Run(ctx)
}

// healed is told of each container that was restarted or started, or could not be.
func (p *parts) healed(c heal.Case, err error) {
	p.metrics.Heal(err)
	if err != nil {
		p.log.Warn("a container was not brought back", "container", c.Member, "owner", c.Owner, "error", err)
		return
	}
	p.log.Info("a container was brought back", "what", c.What(), "container", c.Member, "owner", c.Owner)
	p.ring.Add(admin.Event{Kind: admin.EventHealed, Name: c.Member, Text: c.What()})
}

// unhealed are the containers without a network, or down, that a person should mend.
func (p *parts) unhealed() []string {
	if p.healer == nil {
		return nil // parts of a daemon, in tests
	}
	var out []string
	for _, c := range p.healer.Cases() {
		switch c.Kind {
		case heal.Unkept, heal.Failed, heal.Orphan, heal.Lost:
			out = append(out, c.What()+"; `"+c.Command()+"` mends it")
		default: // that is as its user wants it
		}
	}
	return out
}

type doctorGroups struct{ h *heal.Healer }

// Apart implements doctor.Groups.
func (g doctorGroups) Apart() []heal.Case { return g.h.Cases() }
