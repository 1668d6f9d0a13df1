// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package transact

import (
	"context"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository/internal/guard"
	"github.com/cachewright/cachewright/repository/internal/settle"
)

// grace is for how long COMMIT goes on after the caller's context has ended.
const grace = 5 * time.Second

// result is what became of an attempt.
type result struct {
	outcome settle.Outcome
	again   bool
	err     error
}

// commit commits a transaction that touched something.
func (t *transaction) commit(ctx context.Context, on []cache.Covered) result {
	var held *guard.Guard
	err := t.record(ctx, on)
	if err == nil {
		held, err = t.hold(ctx, on)
	}
	if err == nil {
		err = t.prepare(ctx, held)
	}
	if err == nil && !t.untie() {
		err = context.Cause(ctx)
	}
	if err != nil {
		t.rollBack()
		held.Drop(context.WithoutCancel(ctx))
		return t.rolledBack(err, false)
	}
	return t.settle(ctx, held)
}

// record writes the row of the outbox.
func (t *transaction) record(ctx context.Context, on []cache.Covered) error {
	if t.id == "" {
		return nil
	}
	return t.engine.config.Outbox.Write(ctx, t.sql, t.id, on)
}

// rolledBack is the result of a transaction that was not committed. One whose connection was lost
// may run again, as one that met a conflict.
func (t *transaction) rolledBack(err error, lost bool) result {
	return result{
		outcome: settle.RolledBack, again: lost || t.engine.isConflict(err),
		err: fmt.Errorf("repository: the transaction is rolled back: %w", t.engine.Typed(err)),
	}
}

// hold holds what the transaction touched.
func (t *transaction) hold(
	ctx context.Context, on []cache.Covered,
) (*guard.Guard, error) {
	if t.engine.config.Keeper == nil || len(on) == 0 {
		return nil, nil //nolint:nilnil // a nil Guard holds nothing
	}
	held, err := t.engine.config.Keeper.Hold(ctx, on)
	return held, t.unprotected(err)
}

// prepare sends what precedes COMMIT, and sees to it that enough of the hold is left.
func (t *transaction) prepare(ctx context.Context, held *guard.Guard) (err error) {
	if t.options.ReadOnly {
		return nil
	}
	var idle time.Duration // shorter than what is left of the hold
	if held != nil {
		idle = t.engine.config.Hold / 2
	}
	t.ticket, err = t.engine.config.Dialect.Prepare(ctx, t.sql, idle)
	if err != nil {
		return err
	}
	return t.unprotected(held.Ready(ctx))
}

// unprotected decides what follows if the cache cannot be kept from storing.
func (t *transaction) unprotected(err error) error {
	if err == nil {
		return nil
	}
	t.engine.Counts.Unprotected.Add(1)
	if t.engine.config.Refuse {
		return fmt.Errorf("%w: %w", ErrUnprotected, err)
	}
	t.engine.config.Warn(err)
	return nil
}

// settle sends COMMIT, finds out what became of it, and ends the hold.
func (t *transaction) settle(ctx context.Context, held *guard.Guard) result {
	patient, cancel := outlast(ctx, grace, t.engine.config.Longest)
	defer cancel()
	attempt := settle.Attempt{
		Commit:  t.sql.Commit,
		Cancel:  t.cancel,
		Final:   func(err error) bool { return t.engine.config.Dialect.Fault(err).Final },
		Abandon: func() { t.giveBack(true) },
		Ask:     t.asker(),
		Due:     held.Due,
		Keep:    held.Keep,
	}
	found := attempt.Settle(patient)
	ended := t.conclude(context.WithoutCancel(ctx), held, found)
	t.cancel()
	if !found.Lost {
		t.ticket.Refused = found.Outcome != settle.Committed
		t.restore(false)
	}
	return ended
}

// conclude ends the hold as the outcome demands.
func (t *transaction) conclude(
	ctx context.Context, held *guard.Guard, found settle.Result,
) result {
	switch found.Outcome {
	case settle.Committed:
		held.End(ctx)
		return result{outcome: found.Outcome}
	case settle.RolledBack:
		held.Drop(ctx)
		return t.rolledBack(found.Err, found.Lost)
	default:
		held.Abandon(ctx)
		return result{err: fmt.Errorf("repository: %w: %w", ErrOutcomeUnknown, found.Err)}
	}
}

// asker returns what tells the outcome of COMMIT, or nil.
func (t *transaction) asker() func(context.Context) (settle.Outcome, error) {
	if t.options.ReadOnly {
		return func(context.Context) (settle.Outcome, error) { return settle.RolledBack, nil }
	}
	if t.id != "" {
		return func(ctx context.Context) (settle.Outcome, error) {
			return t.engine.config.Outbox.Ask(ctx, t.engine.config.Pool, t.id)
		}
	}
	ask := t.engine.config.Dialect.Ask()
	if ask == nil {
		return nil
	}
	return func(ctx context.Context) (settle.Outcome, error) {
		return ask(ctx, t.engine.config.Pool, t.ticket)
	}
}

// outlast returns a context that ends a while after another one, or at a limit.
func outlast(
	ctx context.Context, after, limit time.Duration,
) (context.Context, context.CancelFunc) {
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(after):
			cancel()
		case <-patient.Done():
		}
	})
	return patient, func() {
		stop()
		cancel()
	}
}
