package main

import (
	"context"

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

// servePage serves the status page and the metrics until ctx ends, where that was
// asked for.
func (p *parts) servePage(ctx context.Context) {
	if !p.cfg.page.IsValid() {
		return
	}
	page.New(page.Config{
		Addr: p.cfg.page, Names: []string{p.cfg.hostName}, Metrics: p.metrics.Handler(), Log: p.log,
	}, operator{p}).Run(ctx)
}
