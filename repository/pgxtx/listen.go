// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package pgxtx

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cachewright/cachewright/repository"
)

// Pauses between attempts to listen double, and are drawn between half of their length and all.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	closeTime  = time.Second
)

// Listen calls wake whenever a trigger has written to the outbox, until ctx ends: pass the Wake of
// a repository.Relay. It has a connection of its own beside the pool, and makes a new one when that
// is lost. Then it calls wake as well, as it may have missed something. wake must not block.
//
// PgBouncer, in transaction mode, passes no notifications on. There the Relay polls.
func (d *DB) Listen(ctx context.Context, wake func()) {
	pause := firstPause
	for ctx.Err() == nil {
		if d.listen(ctx, wake) {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, lastPause)
	}
}

// listen listens on one connection until it is lost, and reports whether it could.
func (d *DB) listen(ctx context.Context, wake func()) bool {
	conn, err := d.connect(ctx)
	if err != nil {
		return false
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+repository.OutboxChannel); err != nil {
		return false
	}
	for {
		wake()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return true
		}
	}
}

// connect makes a connection as the pool does, for example with a fresh password.
func (d *DB) connect(ctx context.Context) (*pgx.Conn, error) {
	config := d.pool.Config() // a copy
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return nil, err
		}
	}
	return pgx.ConnectConfig(ctx, config.ConnConfig)
}
