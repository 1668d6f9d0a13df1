// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repoprom

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cachewright/cachewright/repository"
)

// maxNameBytes bounds the value of the label database.
const maxNameBytes = 63

// Source has figures. *repository.Monitor is one.
type Source interface {
	Figures() repository.Figures
}

var (
	_ Source               = (*repository.Monitor)(nil)
	_ prometheus.Collector = (*Collector)(nil)
)

// Collector collects the figures of one database. Make one with New. It is safe for concurrent use.
type Collector struct {
	source  Source
	metrics []metric
}

// New returns a Collector. The name is the value of the label database: 1 to 63 bytes of your
// choice, different for each database of the process. Without a Run of the Monitor, the database is
// never up.
func New(name string, source Source) (*Collector, error) {
	switch {
	case source == nil:
		return nil, errors.New("repoprom: the source is nil; give New a *repository.Monitor")
	case name == "" || len(name) > maxNameBytes || !utf8.ValidString(name):
		return nil, fmt.Errorf("repoprom: the name of the database must have 1 to %d bytes of UTF-8",
			maxNameBytes)
	}
	return &Collector{source: source, metrics: metricsOf(name)}, nil
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		descriptions <- m.description
	}
}

// Collect implements prometheus.Collector. It asks no database.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	figures := c.source.Figures()
	for _, m := range c.metrics {
		for _, s := range m.read(figures) {
			metrics <- prometheus.MustNewConstMetric(m.description, m.kind, s.value, s.labels...)
		}
	}
}
