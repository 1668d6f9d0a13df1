// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package watch asks a database again and again how it is, and which database it is.
package watch

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/repository/internal/backoff"
	"github.com/cachewright/cachewright/repository/internal/dialect"
)

// firstPause is the pause after a probe that failed. It doubles up to the interval.
const firstPause = 100 * time.Millisecond

// ErrPoolBusy is repository.ErrPoolBusy.
var ErrPoolBusy = errors.New("all connections of the pool are in use")

var (
	errPanic    = errors.New("a driver panicked in a probe")
	errNotAsked = errors.New("it was not asked yet")
)

// Config says what a Watcher watches. All fields are needed.
type Config struct {
	Pool    *sql.DB
	Dialect dialect.Dialect
	// Interval between probes, and Timeout of each.
	Interval, Timeout time.Duration
	// WentBack is called when the database has an older state than before, or is another one. It is
	// called again with the next probe if it fails.
	WentBack func(context.Context) error
	// Warn is told why WentBack failed. It must not block.
	Warn func(error)
}

// State is what a Watcher knows.
type State struct {
	Up       bool
	Since    time.Time // of the last change of Up
	Latency  time.Duration
	Err      error // of the last probe
	Probes   int64
	Failures int64
	WentBack int64
	Identity dialect.Identity
}

// Watcher watches a database.
type Watcher struct {
	config Config

	mu    sync.Mutex
	state State

	// Of the probes, which do not overlap:
	seen    dialect.Identity // the last one that was told
	pending bool             // WentBack must be called
}

// New returns a Watcher that has not asked yet.
func New(config Config) *Watcher {
	return &Watcher{config: config, state: State{Since: time.Now(), Err: errNotAsked}}
}

// State returns what the last probe found.
func (w *Watcher) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// Run probes until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	failed := 0
	for ctx.Err() == nil {
		if err := w.probe(ctx); err != nil {
			failed++
		} else {
			failed = 0
		}
		select {
		case <-time.After(w.pause(failed)):
		case <-ctx.Done():
		}
	}
}

// pause returns how long to wait after so many probes that failed.
func (w *Watcher) pause(failed int) time.Duration {
	if failed == 0 {
		return w.config.Interval
	}
	return backoff.Backoff{First: firstPause, Last: w.config.Interval}.After(failed)
}

// probe asks once, and notes what it found.
func (w *Watcher) probe(ctx context.Context) (err error) {
	latency, err := w.ask(ctx)
	if ctx.Err() != nil {
		return err // the end of the Watcher says nothing about the database
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if up := err == nil; up != w.state.Up {
		w.state.Up, w.state.Since = up, time.Now()
	}
	w.state.Err, w.state.Latency, w.state.Identity = err, latency, w.seen
	w.state.Probes++
	if err != nil {
		w.state.Failures++
	}
	return err
}

func (w *Watcher) ask(ctx context.Context) (latency time.Duration, err error) {
	defer contain.Panic(&err, errPanic)
	ctx, cancel := context.WithTimeout(ctx, w.config.Timeout)
	defer cancel()
	conn, err := w.config.Pool.Conn(ctx)
	if err != nil {
		if s := w.config.Pool.Stats(); s.MaxOpenConnections > 0 && s.InUse >= s.MaxOpenConnections {
			err = fmt.Errorf("%w: %w", ErrPoolBusy, err)
		}
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	began := time.Now()
	var one int
	if err := conn.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return 0, err
	}
	latency = time.Since(began)
	w.compare(ctx, conn)
	return latency, nil
}

// compare finds out whether the database went back in time. One that does not tell is left alone.
func (w *Watcher) compare(ctx context.Context, conn *sql.Conn) {
	found, err := w.config.Dialect.Identity(ctx, conn)
	if err != nil || found == (dialect.Identity{}) {
		return
	}
	if found.IsOlderThan(w.seen) {
		w.pending = true
		w.mu.Lock()
		w.state.WentBack++
		w.mu.Unlock()
	}
	w.seen = found
	if !w.pending {
		return
	}
	if err := w.config.WentBack(ctx); err != nil {
		w.config.Warn(err)
		return
	}
	w.pending = false
}
