// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repoprom

import (
	"database/sql"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/cachewright/cachewright/repository"
)

// stub has given figures.
type stub repository.Figures

func (s stub) Figures() repository.Figures { return repository.Figures(s) }

var figures = stub{
	Up: true, Since: time.UnixMilli(1_700_000_000_500), Latency: 1500 * time.Microsecond,
	Err: errors.New("secret"), Probes: 21, Failures: 3, WentBack: 2, System: "7301", Timeline: 5,
	Pool: sql.DBStats{
		MaxOpenConnections: 40, InUse: 7, Idle: 4, OpenConnections: 11, WaitCount: 9,
		WaitDuration: 2500 * time.Millisecond, MaxIdleClosed: 12, MaxIdleTimeClosed: 13, MaxLifetimeClosed: 14,
	},
	Transactions: repository.Stats{
		Committed: 101, RolledBack: 15, Retries: 6, OutcomeUnknown: 1, Unprotected: 8, HoldsLost: 10,
	},
}

func collector(t *testing.T, source Source) *Collector {
	t.Helper()
	c, err := New("orders", source)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEachFigureIsAMetric(t *testing.T) {
	want := `
cachewright_database_up{database="orders"} 1
cachewright_database_state_change_timestamp_seconds{database="orders"} 1.7000000005e+09
cachewright_database_probe_latency_seconds{database="orders"} 0.0015
cachewright_database_probes_total{database="orders"} 21
cachewright_database_probe_failures_total{database="orders"} 3
cachewright_database_went_back_total{database="orders"} 2
cachewright_database_timeline{database="orders"} 5
cachewright_database_transactions_total{database="orders",outcome="committed"} 101
cachewright_database_transactions_total{database="orders",outcome="rolled_back"} 15
cachewright_database_transactions_total{database="orders",outcome="unknown"} 1
cachewright_database_transaction_retries_total{database="orders"} 6
cachewright_database_transactions_unprotected_total{database="orders"} 8
cachewright_database_holds_lost_total{database="orders"} 10
cachewright_database_connections_max{database="orders"} 40
cachewright_database_connections{database="orders",state="in_use"} 7
cachewright_database_connections{database="orders",state="idle"} 4
cachewright_database_connection_waits_total{database="orders"} 9
cachewright_database_connection_wait_seconds_total{database="orders"} 2.5
cachewright_database_connections_closed_total{database="orders",reason="max_idle"} 12
cachewright_database_connections_closed_total{database="orders",reason="max_idle_time"} 13
cachewright_database_connections_closed_total{database="orders",reason="max_lifetime"} 14
`
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector(t, figures))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	if got := samplesIn(text.String()); !slices.Equal(got, samplesIn(want)) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, ""), want)
	}
	// It demands that counters, and nothing else, end in `_total`.
	problems, err := testutil.CollectAndLint(collector(t, figures))
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// samplesIn returns the sorted lines of a text that are samples.
func samplesIn(text string) (samples []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			samples = append(samples, line)
		}
	}
	slices.Sort(samples)
	return samples
}

// Before the first probe, and without a limit, no value is strange.
func TestADatabaseThatNobodyProbed(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector(t, stub{}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if value := m.GetGauge().GetValue() + m.GetCounter().GetValue(); value != 0 {
				t.Errorf("%s is %v", family.GetName(), value)
			}
		}
	}
}

func TestTwoDatabasesAreApart(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, name := range []string{"orders", "users"} {
		c, err := New(name, figures)
		if err != nil {
			t.Fatal(err)
		}
		if err := registry.Register(c); err != nil {
			t.Error(err)
		}
	}
	if err := registry.Register(collector(t, figures)); err == nil {
		t.Error("two collectors of one name")
	}
}

func TestNamesAreBounded(t *testing.T) {
	for _, name := range []string{"", strings.Repeat("x", 64), "\xff"} {
		if _, err := New(name, figures); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	if _, err := New("orders", nil); err == nil {
		t.Error("a collector without a source")
	}
}

// Every metric, and nothing else, is in docs/database.md.
func TestTheMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/database.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `("+prefix+"[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = true
	}
	for _, m := range collector(t, figures).metrics {
		name := strings.Split(m.description.String(), `"`)[1]
		if !documented[name] {
			t.Errorf("docs/database.md lacks %s", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("docs/database.md has %s, which is no metric", name)
	}
}
