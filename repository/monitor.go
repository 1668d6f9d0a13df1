// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository/internal/watch"
)

// Bounds and defaults of a Monitor.
const (
	defaultInterval  = 5 * time.Second
	shortestInterval = 100 * time.Millisecond
	defaultProbe     = 2 * time.Second
)

// MonitorOption changes how a Monitor works.
type MonitorOption func(*monitorOptions)

type monitorOptions struct {
	interval, timeout time.Duration
	modules           []string
}

// Every sets the time between two probes: at least 100ms, default 5s. While the database does not
// answer, the first pauses are shorter.
func Every(d time.Duration) MonitorOption { return func(o *monitorOptions) { o.interval = d } }

// ProbeTimeout sets how long the database may take to answer: at least 100ms, default 2s.
func ProbeTimeout(d time.Duration) MonitorOption {
	return func(o *monitorOptions) { o.timeout = d }
}

// Invalidates names the modules of the cache that hold what the database has. They are invalidated
// when it went back in time: after a restore, or a failover that may have lost commits. PostgreSQL
// tells, and MySQL tells of another server; MariaDB and SQLite do not. Needs WithCache.
func Invalidates(modules ...string) MonitorOption {
	return func(o *monitorOptions) { o.modules = slices.Clone(modules) }
}

// Monitor asks a database again and again whether it answers. It is safe for concurrent use, and
// implements http.Handler.
type Monitor struct {
	db      *DB
	watcher *watch.Watcher
}

// Figures are what a Monitor knows. They hold no addresses and no names of databases.
type Figures struct {
	// Up says that the database answered the last probe. It is false before the first one.
	Up bool
	// Since is when Up changed.
	Since time.Time
	// Latency is how long the last answer took, without the wait for a connection. 0: there is none.
	Latency time.Duration
	// Err says why it is not Up. It may hold words of the driver.
	Err error
	// Probes were made, and Failures were without an answer in time.
	Probes, Failures int64
	// WentBack is how often the database went back in time, or was another one: see Invalidates.
	WentBack int64
	// System and Timeline identify the database and its history, where it tells.
	System   string
	Timeline int64
	// Pool is what database/sql knows of its connections.
	Pool sql.DBStats
	// Transactions are those of InTx.
	Transactions Stats
}

// Monitor returns a Monitor. Call its Run.
func (d *DB) Monitor(opts ...MonitorOption) *Monitor {
	o := monitorOptions{interval: defaultInterval, timeout: defaultProbe}
	for _, option := range opts {
		option(&o)
	}
	return &Monitor{db: d, watcher: watch.New(watch.Config{
		Pool: d.pool, Dialect: d.speaks,
		Interval: max(o.interval, shortestInterval), Timeout: max(o.timeout, shortestInterval),
		WentBack: func(ctx context.Context) error { return d.invalidate(ctx, o.modules) },
		Warn:     d.warn.Report,
	})}
}

// Run probes the database until ctx ends.
func (m *Monitor) Run(ctx context.Context) { m.watcher.Run(ctx) }

// Figures returns what the Monitor knows now.
func (m *Monitor) Figures() Figures {
	s := m.watcher.State()
	return Figures{
		Up: s.Up, Since: s.Since, Latency: s.Latency, Err: s.Err,
		Probes: s.Probes, Failures: s.Failures, WentBack: s.WentBack,
		System: s.Identity.System, Timeline: s.Identity.Timeline,
		Pool: m.db.pool.Stats(), Transactions: m.db.Stats(),
	}
}

// ServeHTTP answers 200 if the database is up, and 503 if not. It serves the readiness probe of a
// pod that is of no use without the database.
func (m *Monitor) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	state := m.watcher.State()
	switch {
	case state.Up:
		_, _ = fmt.Fprintln(w, "the database answers")
		return
	case errors.Is(state.Err, ErrPoolBusy):
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, ErrPoolBusy)
	default:
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, "the database does not answer")
	}
}

// invalidate invalidates modules. One that is queued is as good as done.
func (d *DB) invalidate(ctx context.Context, modules []string) error {
	if d.cache == nil {
		return nil
	}
	var failed []error
	for _, module := range modules {
		if err := d.cache.InvalidateModule(ctx, module); err != nil && !errors.Is(err, cache.ErrQueued) {
			failed = append(failed, fmt.Errorf("the database went back in time: %w", err))
		}
	}
	return errors.Join(failed...)
}
