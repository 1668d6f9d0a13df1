// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package transact

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
)

// poolKey is the key of the frame of the innermost transaction on a pool.
type poolKey struct{ pool *sql.DB }

// FrameOn returns the frame of the innermost transaction on a pool, or nil.
func FrameOn(ctx context.Context, pool *sql.DB) *Frame {
	f, _ := ctx.Value(poolKey{pool: pool}).(*Frame)
	return f
}

// Native lends the driver's connection of a transaction, for what database/sql does not offer.
// Until giveBack is called, the end of the caller's context does not roll back on it: drivers allow
// one goroutine at a time. What runs on it must watch that context.
func (f *Frame) Native() (conn any, giveBack func(), err error) {
	if err := f.usable(); err != nil {
		return nil, nil, err
	}
	if err := f.tx.lend(); err != nil {
		return nil, nil, err
	}
	err = f.tx.conn.Raw(func(driverConn any) error {
		conn = driverConn
		return nil
	})
	if err != nil {
		f.tx.takeBack()
		return nil, nil, err
	}
	return conn, sync.OnceFunc(f.tx.takeBack), nil
}

// lend counts a use of the connection.
func (t *transaction) lend() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.interrupted {
		return fmt.Errorf("repository: %w: its context has ended", ErrOver)
	}
	t.lent++
	return nil
}

// takeBack ends a use, and does what interrupt left for that moment.
func (t *transaction) takeBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lent--
	if t.interrupted && t.lent == 0 {
		t.cancel()
	}
}

// interrupt ends the transaction, with its caller's context, once nobody uses its connection.
func (t *transaction) interrupt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.interrupted = true
	if t.lent == 0 {
		t.cancel()
	}
}
