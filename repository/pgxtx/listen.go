// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package pgxtx

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/internal/backoff"
)

const closeTime = time.Second

// pauses between attempts to listen.
var pauses = backoff.Backoff{First: 100 * time.Millisecond, Last: 5 * time.Second}

// Listen calls wake whenever a trigger has written to the outbox, until ctx ends: pass the Wake of
// a repository.Relay. It has a connection of its own beside the pool, and makes a new one when that
// is lost. Then it calls wake as well, as it may have missed something. wake must not block.
//
// PgBouncer, in transaction mode, passes no notifications on. There the Relay polls.
func (d *DB) Listen(ctx context.Context, wake func()) {
	failed := 0
	for ctx.Err() == nil {
		if d.listen(ctx, wake) {
			failed = 0
		}
		failed++
		select {
		case <-ctx.Done():
		case <-time.After(pauses.After(failed)):
		}
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
