// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package transact

import (
	"context"
	"fmt"

	"github.com/cachewright/cachewright/repository/internal/settle"
)

// attempt runs fn in one transaction, and says whether another one makes sense.
func (e *Engine) attempt(
	ctx context.Context, o Options, fn func(context.Context) error,
) (again bool, err error) {
	t, err := e.begin(ctx, o)
	if err != nil {
		return e.isConflict(err), e.Typed(err)
	}
	f := &Frame{tx: t}
	end := result{outcome: settle.RolledBack} // of a panic
	defer func() { e.finish(ctx, f, end.outcome) }()
	end = t.run(ctx, f, fn)
	return end.again, end.err
}

// finish counts a transaction, and calls its hooks.
func (e *Engine) finish(ctx context.Context, f *Frame, outcome settle.Outcome) {
	hooks := f.end(outcome == settle.Committed)
	switch outcome {
	case settle.Committed:
		e.Counts.Committed.Add(1)
	case settle.RolledBack:
		e.Counts.RolledBack.Add(1)
	default:
		e.Counts.OutcomeUnknown.Add(1)
		return
	}
	callAll(ctx, hooks)
}

// run calls the function of a transaction, and commits what it did.
func (t *transaction) run(
	ctx context.Context, f *Frame, fn func(context.Context) error,
) result {
	if err := t.call(ctx, f, fn); err != nil {
		return result{
			outcome: settle.RolledBack, again: t.engine.isConflict(err), err: t.engine.Typed(err),
		}
	}
	return t.commit(ctx, f.covered())
}

// call rolls back unless the function says that it may be committed.
func (t *transaction) call(
	ctx context.Context, f *Frame, fn func(context.Context) error,
) (err error) {
	err = errPanicked
	defer func() {
		if err != nil {
			t.rollBack()
		}
	}()
	err = fn(f.enter(ctx))
	if reason := f.reasonToUndo(); err == nil && reason != nil {
		err = fmt.Errorf("repository: the transaction is rolled back: %w", reason)
	}
	return err
}
