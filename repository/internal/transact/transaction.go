// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package transact

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cachewright/cachewright/repository/internal/dialect"
	"github.com/cachewright/cachewright/repository/internal/fault"
	"github.com/cachewright/cachewright/repository/internal/outbox"
)

// restoreTime bounds what makes a connection fit for others.
const restoreTime = time.Second

var errPanicked = errors.New("the function panicked")

// transaction is one attempt of InTx, on a connection of its own.
type transaction struct {
	engine  *Engine
	options Options
	conn    *sql.Conn
	sql     *sql.Tx
	ticket  dialect.Ticket
	id      string // in the outbox; empty: it writes no row
	// untie ends the tie between the transaction and the caller's context. It reports false if the
	// context has ended before.
	untie func() bool
	// cancel ends the context of the transaction.
	cancel context.CancelFunc

	mu         sync.Mutex
	doomed     error // why it cannot be committed
	savepoints int
	// lent counts the uses of the driver's connection, and interrupted says that there may be no more.
	lent        int
	interrupted bool
}

// begin begins a transaction that ends with ctx until it is untied.
func (e *Engine) begin(ctx context.Context, o Options) (*transaction, error) {
	lifetime, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &transaction{engine: e, options: o, cancel: cancel}
	t.untie = context.AfterFunc(ctx, t.interrupt)
	var err error
	// Connections may have broken while nobody used them. Nothing was sent, so take the next one.
	for left := e.config.Pool.Stats().Idle + 1; ; left-- {
		err = t.beginOnce(ctx, lifetime)
		if err == nil {
			return t, nil
		}
		if left == 0 || ctx.Err() != nil || e.config.Dialect.Fault(err).Class != fault.Lost {
			break
		}
	}
	t.untie()
	cancel()
	return nil, fmt.Errorf("repository: the transaction could not begin: %w", err)
}

func (t *transaction) beginOnce(ctx, lifetime context.Context) (err error) {
	t.conn, err = t.engine.config.Pool.Conn(ctx)
	if err != nil {
		return err
	}
	if !t.options.ReadOnly {
		err = t.engine.config.Dialect.Learn(ctx, t.conn)
	}
	if err == nil {
		t.sql, err = t.conn.BeginTx(lifetime,
			&sql.TxOptions{Isolation: t.options.Isolation, ReadOnly: t.options.ReadOnly})
	}
	if err != nil {
		t.giveBack(t.engine.config.Dialect.Fault(err).Class == fault.Lost)
		return err
	}
	return t.identify(ctx)
}

// identify gives the transaction an id in the outbox.
func (t *transaction) identify(ctx context.Context) error {
	if t.engine.config.Outbox == nil || t.options.ReadOnly {
		return nil
	}
	t.id = outbox.NewID()
	err := t.engine.config.Outbox.Begin(ctx, t.sql, t.id)
	if err != nil {
		_ = t.sql.Rollback()
		t.giveBack(true)
	}
	return err
}

// observe notes an error after which no statement may follow.
func (t *transaction) observe(err error) {
	if err != nil && t.engine.config.Dialect.Fault(err).Ended {
		t.doom(err)
	}
}

// doom has the transaction rolled back in the end.
func (t *transaction) doom(reason error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.doomed == nil {
		t.doomed = reason
	}
}

func (t *transaction) reasonToRollBack() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.doomed
}

func (t *transaction) nextSavepoint() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.savepoints++
	return t.savepoints
}

// rollBack undoes the transaction. If the connection does not answer, the server does so when it
// closes.
func (t *transaction) rollBack() {
	err := t.sql.Rollback()
	t.untie()
	t.cancel()
	t.restore(err != nil && !errors.Is(err, sql.ErrTxDone))
}

// restore gives the connection back to the pool, as it was.
func (t *transaction) restore(broken bool) {
	ctx, cancel := context.WithTimeout(context.Background(), restoreTime)
	defer cancel()
	if !broken {
		broken = t.engine.config.Dialect.Restore(ctx, t.conn, t.ticket) != nil
	}
	t.giveBack(broken)
}

// giveBack ends the use of the connection. The pool closes a broken one.
func (t *transaction) giveBack(broken bool) {
	if broken {
		_ = t.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	_ = t.conn.Close()
}
