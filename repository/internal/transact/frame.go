// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package transact

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository/internal/touched"
)

var errReadOnly = errors.New("the transaction is read-only")

// Frame is what was recorded in a transaction, or since a savepoint of it.
type Frame struct {
	tx    *transaction
	outer *Frame // nil: the frame is that of the whole transaction

	mu            sync.Mutex
	over          bool
	failed        error // of an inner transaction that is a part of it
	touched       touched.Set
	locked        map[any]bool // rows that the transaction has read and locked
	afterCommit   []func(context.Context)
	afterRollback []func(context.Context)
}

// Keys of contexts: the frame of the innermost transaction, and of that of one Engine.
type (
	innermostKey struct{}
	frameKey     struct{ engine *Engine }
)

// enter returns a context with the frame.
func (f *Frame) enter(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, frameKey{engine: f.tx.engine}, f)
	ctx = context.WithValue(ctx, poolKey{pool: f.tx.engine.config.Pool}, f)
	return context.WithValue(ctx, innermostKey{}, f)
}

// FrameOf returns the frame of this Engine's transaction, or nil.
func (e *Engine) FrameOf(ctx context.Context) *Frame {
	f, _ := ctx.Value(frameKey{engine: e}).(*Frame)
	return f
}

// innermost returns the frame of the innermost transaction, or nil.
func innermost(ctx context.Context) *Frame {
	f, _ := ctx.Value(innermostKey{}).(*Frame)
	return f
}

// record changes a frame, unless it is over.
func (f *Frame) record(change func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return fmt.Errorf("repository: %w: use its context only until its function returns", ErrOver)
	}
	return change()
}

// end makes a frame take no more, and returns the hooks of what became of it.
func (f *Frame) end(committed bool) []func(context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	if committed {
		return f.afterCommit
	}
	return f.afterRollback
}

// adopt takes over what an inner frame recorded.
func (f *Frame) adopt(inner *Frame) error {
	inner.mu.Lock()
	defer inner.mu.Unlock()
	return f.record(func() error {
		if err := f.touched.Merge(&inner.touched); err != nil {
			return err
		}
		inner.over = true
		for row := range inner.locked {
			f.lock(row)
		}
		f.afterCommit = append(f.afterCommit, inner.afterCommit...)
		f.afterRollback = append(f.afterRollback, inner.afterRollback...)
		return nil
	})
}

// NoteLock notes that the transaction has read and locked a row.
func (f *Frame) NoteLock(row any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lock(row)
}

func (f *Frame) lock(row any) {
	if f.locked == nil {
		f.locked = map[any]bool{}
	}
	f.locked[row] = true
}

// HasLock says whether the transaction has read and locked a row. Savepoints that were rolled back
// do not count.
func (f *Frame) HasLock(row any) bool {
	for ; f != nil; f = f.outer {
		f.mu.Lock()
		has := f.locked[row]
		f.mu.Unlock()
		if has {
			return true
		}
	}
	return false
}

// fail has what is in the frame undone in the end.
func (f *Frame) fail(reason error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = reason
	}
}

func (f *Frame) reasonToUndo() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return f.failed
	}
	return f.tx.reasonToRollBack()
}

// usable returns why no statement may be sent.
func (f *Frame) usable() error {
	if err := f.record(func() error { return nil }); err != nil {
		return err
	}
	if reason := f.reasonToUndo(); reason != nil {
		return fmt.Errorf("repository: %w: it will be rolled back: %w", ErrOver, reason)
	}
	return nil
}

// covered returns what the transaction touched.
func (f *Frame) covered() []cache.Covered {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.touched.Covered()
}

// Touch records what the innermost transaction changes.
func Touch(ctx context.Context, on []cache.Covered) error {
	f := innermost(ctx)
	switch {
	case f == nil:
		return fmt.Errorf("%w: pass the one that InTx gives", ErrNoTransaction)
	case f.tx.options.ReadOnly:
		return errReadOnly
	}
	return f.record(func() error { return f.touched.Add(on...) })
}

// AfterCommit records a hook. It reports whether ctx has a transaction.
func AfterCommit(ctx context.Context, hook func(context.Context)) bool {
	f := innermost(ctx)
	if f == nil {
		return false
	}
	_ = f.record(func() error { // after the end, nothing is to be committed
		f.afterCommit = append(f.afterCommit, hook)
		return nil
	})
	return true
}

// AfterRollback records a hook, if ctx has a transaction.
func AfterRollback(ctx context.Context, hook func(context.Context)) {
	if f := innermost(ctx); f != nil {
		_ = f.record(func() error {
			f.afterRollback = append(f.afterRollback, hook)
			return nil
		})
	}
}
