// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/repository/internal/backoff"
)

// Bounds of a relay.
const (
	batch    = 64
	turnTime = 15 * time.Second
	// sweepEvery is the time between two removals of done rows, and sweepRows bounds one.
	sweepEvery = 30 * time.Second
	sweepRows  = 1000
)

// pauses after turns that failed.
var pauses = backoff.Backoff{First: 100 * time.Millisecond, Last: 5 * time.Second}

var errPanic = errors.New("a driver or the cache panicked in a turn of the relay")

// Config says what a Relay works with. All fields are needed, but for Lag.
type Config struct {
	Pool   *sql.DB
	SQL    *SQL
	Holder cache.Holder
	// Poll is the time between two looks at the table.
	Poll time.Duration
	// Keep is for how long a done row stays: longer than InTx may ask for it.
	Keep time.Duration
	// Lag is for how long replicas may be behind. What changed is not cached meanwhile.
	Lag time.Duration
	// Warn is told what went wrong. It must not block.
	Warn func(error)
}

// Figures are repository.RelayFigures.
type Figures struct {
	// Rows that were carried to the cache.
	Rows int64
	// SetAside are rows that are not ours: marked as done, without an effect.
	SetAside int64
	// Removed are done rows that were removed.
	Removed int64
	// Turns looked at the table, and Failures are those that failed.
	Turns, Failures int64
	// Woken is how often Wake ended a pause.
	Woken int64
	// Err says why the last turn failed. It may hold words of the driver.
	Err error
}

// Relay carries rows of the outbox to the cache.
type Relay struct {
	config Config
	wake   chan struct{}

	mu      sync.Mutex
	figures Figures
}

// NewRelay returns a Relay that has not begun.
func NewRelay(config Config) *Relay {
	return &Relay{config: config, wake: make(chan struct{}, 1)}
}

// Figures returns what the Relay did so far.
func (r *Relay) Figures() Figures {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.figures
}

// Wake ends the pause of the Relay. It does not block.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends.
func (r *Relay) Run(ctx context.Context) {
	failed := 0
	var swept time.Time
	for ctx.Err() == nil {
		full, err := r.turn(ctx)
		if err == nil && time.Since(swept) >= sweepEvery {
			if err = r.sweep(ctx); err == nil {
				swept = time.Now()
			}
		}
		if ctx.Err() != nil {
			return // the end of the Relay says nothing about the database
		}
		r.note(func(f *Figures) {
			f.Turns++
			f.Err = err
		})
		switch {
		case err != nil:
			failed++
			r.note(func(f *Figures) { f.Failures++ })
			r.config.Warn(err)
			r.rest(ctx, pauses.After(failed), nil)
		case full:
			failed = 0
		default:
			failed = 0
			r.rest(ctx, r.config.Poll, r.wake)
		}
	}
}

func (r *Relay) rest(ctx context.Context, pause time.Duration, wake <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	case <-wake:
		r.note(func(f *Figures) { f.Woken++ })
	}
}

func (r *Relay) note(change func(*Figures)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.figures)
}

// turn carries a batch. It is full if there may be more.
func (r *Relay) turn(ctx context.Context) (full bool, err error) {
	defer contain.Panic(&err, errPanic)
	ctx, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	if !r.config.SQL.locks {
		return r.carry(ctx, r.config.Pool)
	}
	// At a stricter level, MySQL would lock what others insert meanwhile.
	tx, err := r.config.Pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	full, failed := r.carry(ctx, tx)
	if err := tx.Commit(); err != nil {
		return false, errors.Join(failed, err)
	}
	return full, failed
}

// sweep removes rows that nobody asks for any more.
func (r *Relay) sweep(ctx context.Context) (err error) {
	defer contain.Panic(&err, errPanic)
	query := fill(r.config.SQL.remove,
		":seconds", number(int(r.config.Keep/time.Second)), ":rows", number(sweepRows))
	for {
		removed, err := r.remove(ctx, query)
		if err != nil {
			return err
		}
		r.note(func(f *Figures) { f.Removed += removed })
		if removed < sweepRows {
			return nil
		}
	}
}

func (r *Relay) remove(ctx context.Context, query string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	result, err := r.config.Pool.ExecContext(ctx, query)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
