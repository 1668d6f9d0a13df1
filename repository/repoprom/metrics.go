// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repoprom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cachewright/cachewright/repository"
)

const prefix = "cachewright_database_"

// metric is one metric, and how it is read.
type metric struct {
	description *prometheus.Desc
	kind        prometheus.ValueType
	read        func(repository.Figures) []sample
}

// sample is one value of a metric, with the values of its labels.
type sample struct {
	value  float64
	labels []string
}

// metricsOf are the metrics of a database of this name.
func metricsOf(name string) []metric {
	gauge := kindOf(prometheus.GaugeValue, name)
	counter := kindOf(prometheus.CounterValue, name)
	all := health(gauge, counter)
	all = append(all, transactions(counter)...)
	return append(all, pool(gauge, counter)...)
}

type kind func(
	suffix, help string, read func(repository.Figures) []sample, labels ...string,
) metric

func kindOf(value prometheus.ValueType, name string) kind {
	return func(
		suffix, help string, read func(repository.Figures) []sample, labels ...string,
	) metric {
		return metric{
			description: prometheus.NewDesc(prefix+suffix, help, labels,
				prometheus.Labels{"database": name}),
			kind: value, read: read,
		}
	}
}

// one reads a metric without labels.
func one[N int | int64](read func(repository.Figures) N) func(repository.Figures) []sample {
	return func(f repository.Figures) []sample { return []sample{{value: float64(read(f))}} }
}

// seconds reads a time.
func seconds(read func(repository.Figures) time.Duration) func(repository.Figures) []sample {
	return func(f repository.Figures) []sample { return []sample{{value: read(f).Seconds()}} }
}

// health is what the Monitor finds out.
func health(gauge, counter kind) []metric {
	return []metric{
		gauge("up", "1 if the database answered the last probe, else 0.",
			one(func(f repository.Figures) int {
				if f.Up {
					return 1
				}
				return 0
			})),
		gauge("state_change_timestamp_seconds", "When up changed, 0 before the first probe.",
			func(f repository.Figures) []sample {
				if f.Since.IsZero() {
					return []sample{{}}
				}
				return []sample{{value: float64(f.Since.UnixMilli()) / 1000}}
			}),
		gauge("probe_latency_seconds", "How long the last answer to a probe took, 0 if there is none.",
			seconds(func(f repository.Figures) time.Duration { return f.Latency })),
		counter("probes_total", "Probes of the database.",
			one(func(f repository.Figures) int64 { return f.Probes })),
		counter("probe_failures_total", "Probes without an answer in time.",
			one(func(f repository.Figures) int64 { return f.Failures })),
		counter("went_back_total", "How often the database went back in time, or was another one.",
			one(func(f repository.Figures) int64 { return f.WentBack })),
		gauge("timeline", "Number of the history of a PostgreSQL, 0 where the database does not tell.",
			one(func(f repository.Figures) int64 { return f.Timeline })),
	}
}

// transactions are those of InTx.
func transactions(counter kind) []metric {
	return []metric{
		counter("transactions_total",
			"Transactions by InTx. Each attempt that is repeated is rolled back.",
			func(f repository.Figures) []sample {
				return []sample{
					{float64(f.Transactions.Committed), []string{"committed"}},
					{float64(f.Transactions.RolledBack), []string{"rolled_back"}},
					{float64(f.Transactions.OutcomeUnknown), []string{"unknown"}},
				}
			}, "outcome"),
		counter("transaction_retries_total", "Attempts of transactions after the first one.",
			one(func(f repository.Figures) int64 { return f.Transactions.Retries })),
		counter("transactions_unprotected_total",
			"Transactions whose changes could not be held in the cache.",
			one(func(f repository.Figures) int64 { return f.Transactions.Unprotected })),
		counter("holds_lost_total", "Holds that ended before the outcome of COMMIT was known.",
			one(func(f repository.Figures) int64 { return f.Transactions.HoldsLost })),
	}
}

// pool is what database/sql knows of its connections.
func pool(gauge, counter kind) []metric {
	return []metric{
		gauge("connections_max", "Connections that the pool may have, 0 without a limit.",
			one(func(f repository.Figures) int { return f.Pool.MaxOpenConnections })),
		gauge("connections", "Connections of the pool.",
			func(f repository.Figures) []sample {
				return []sample{
					{float64(f.Pool.InUse), []string{"in_use"}}, {float64(f.Pool.Idle), []string{"idle"}},
				}
			}, "state"),
		counter("connection_waits_total", "How often a caller waited for a connection.",
			one(func(f repository.Figures) int64 { return f.Pool.WaitCount })),
		counter("connection_wait_seconds_total", "How long callers waited for connections.",
			seconds(func(f repository.Figures) time.Duration { return f.Pool.WaitDuration })),
		counter("connections_closed_total",
			"Connections that the pool closed, by the limit that said so.",
			func(f repository.Figures) []sample {
				return []sample{
					{float64(f.Pool.MaxIdleClosed), []string{"max_idle"}},
					{float64(f.Pool.MaxIdleTimeClosed), []string{"max_idle_time"}},
					{float64(f.Pool.MaxLifetimeClosed), []string{"max_lifetime"}},
				}
			}, "reason"),
	}
}
