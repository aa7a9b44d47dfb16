package daemon

import (
	"context"
	"fmt"

	"github.com/dockstack/dockstack/internal/metrics"
	"github.com/dockstack/dockstack/internal/page"
)

// operator is what the page and the metrics read.
var (
	_ page.Source    = operator{}
	_ metrics.Source = operator{}
)

// buildMetrics makes the metrics, which the operator's socket has in any case.
func (p *parts) buildMetrics() {
	p.metrics = metrics.New(metrics.Config{Source: operator{p}, Drops: p.fabric.Drops, Log: p.log})
}

// buildPage makes the status page, with the metrics, where that was asked for.
func (p *parts) buildPage() {
	if p.cfg.page.IsValid() {
		p.page = page.New(page.Config{
			Addr: p.cfg.page, Names: []string{p.cfg.hostName}, Metrics: p.metrics.Handler(), Log: p.log,
		}, operator{p})
	}
}

func (p *parts) servePage(ctx context.Context) {
	if p.page != nil {
		p.page.Run(ctx)
	}
}

// pageProblems are what keeps the page from being looked at.
func (p *parts) pageProblems() []string {
	if p.page == nil {
		return nil
	}
	err := p.page.Trouble()
	if err == nil {
		return nil
	}
	return []string{fmt.Sprintf("the status page is not served: %v; %s is %s: an address of this host and a port that nobody has are wanted", err, envPage, p.cfg.page)}
}
