// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repoprom_test

import (
	"fmt"
	"log"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/repoprom"
)

// register is what docs/database.md shows.
func register(monitor repoprom.Source) error {
	collector, err := repoprom.New("orders", monitor) // the value of the label database
	if err != nil {
		return err
	}
	prometheus.MustRegister(collector)
	return nil
}

type healthy struct{}

func (healthy) Figures() repository.Figures { return repository.Figures{Up: true} }

func Example() {
	if err := register(healthy{}); err != nil {
		log.Fatal(err)
	}
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "cachewright_database_up" {
			fmt.Println(family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	// Output: 1
}
