// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package repoprom gives the figures of a database to Prometheus: those of a repository.Monitor, of
// its pool of connections and of its transactions.
//
//	monitor := db.Monitor()
//	go monitor.Run(ctx)
//	collector, err := repoprom.New("orders", monitor)
//	…
//	prometheus.MustRegister(collector)
//
// docs/database.md lists the metrics. Their only label besides those of a metric is database, with
// the name that you give. They hold no addresses, no names of users and no text of errors.
package repoprom
