// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"errors"
	"fmt"
)

// lockedRow identifies a row that a transaction has locked.
type lockedRow struct{ source, id any }

func (c *cached[T, ID]) noteLock(ctx context.Context, id ID) {
	if frame := c.db.engine.FrameOf(ctx); frame != nil && !c.Versioned() {
		frame.NoteLock(lockedRow{source: c.Source, id: id})
	}
}

// checkCopy refuses a row that may be a copy from the cache.
func (c *cached[T, ID]) checkCopy(ctx context.Context, id ID) error {
	if c.Versioned() || c.db.engine.FrameOf(ctx).HasLock(lockedRow{source: c.Source, id: id}) {
		return nil
	}
	return fmt.Errorf("repository: Update: %w", ErrStaleCopy)
}

// touch records what may be cached of rows, as they were and as they will be.
func (c *cached[T, ID]) touch(ctx context.Context, rows ...*T) error {
	for _, v := range rows {
		on, err := c.keys.covered(v)
		if err != nil {
			return err
		}
		if err := Touch(ctx, on...); err != nil {
			return err
		}
	}
	return nil
}

// own refuses a row that the context's user may not write.
func (c *cached[T, ID]) own(ctx context.Context, v *T) error {
	if v == nil {
		return fmt.Errorf("repository: %w", ErrNil)
	}
	user, err := c.keys.userOf(ctx)
	if err != nil {
		return err
	}
	mine, err := c.keys.mine(v, user)
	if err == nil && !mine {
		err = fmt.Errorf("repository: %w", errOwner)
	}
	return err
}

// Create implements Repository.
func (c *cached[T, ID]) Create(ctx context.Context, v ...*T) error {
	for _, row := range v {
		if err := c.own(ctx, row); err != nil {
			return err
		}
	}
	return c.db.InTx(ctx, func(ctx context.Context) error {
		if err := c.Source.Create(ctx, v...); err != nil {
			return err
		}
		for _, row := range v {
			c.noteLock(ctx, c.IDOf(row))
		}
		return c.touch(ctx, v...)
	})
}

// Update implements Repository.
func (c *cached[T, ID]) Update(ctx context.Context, v *T) error {
	if err := c.own(ctx, v); err != nil {
		return err
	}
	return c.db.InTx(ctx, func(ctx context.Context) error {
		if err := c.checkCopy(ctx, c.IDOf(v)); err != nil {
			return err
		}
		old, err := c.GetForUpdate(ctx, c.IDOf(v))
		if err != nil {
			return err
		}
		if err := c.Source.Update(ctx, v); err != nil {
			return err
		}
		return c.touch(ctx, &old, v)
	})
}

// Patch implements Repository.
func (c *cached[T, ID]) Patch(ctx context.Context, id ID, set ...Set) (patched T, err error) {
	err = c.db.InTx(ctx, func(ctx context.Context) error {
		old, err := c.GetForUpdate(ctx, id)
		if err != nil {
			return err
		}
		if patched, err = c.Source.Patch(ctx, id, set...); err != nil {
			return err
		}
		if err := c.own(ctx, &patched); err != nil {
			return err
		}
		return c.touch(ctx, &old, &patched)
	})
	return patched, err
}

// Delete implements Repository.
func (c *cached[T, ID]) Delete(ctx context.Context, id ID) error {
	return c.db.InTx(ctx, func(ctx context.Context) error {
		old, err := c.GetForUpdate(ctx, id)
		if err != nil {
			return err
		}
		if err := c.Source.Delete(ctx, id); err != nil {
			return err
		}
		return c.touch(ctx, &old)
	})
}

// Upsert implements Repository. The row must be known before it is changed. So it is created, and
// if another transaction was faster, its row is locked and updated.
func (c *cached[T, ID]) Upsert(ctx context.Context, v *T, on ...string) error {
	if err := c.own(ctx, v); err != nil {
		return err
	}
	where, err := UpsertConds(c.Source, v, on)
	if err != nil {
		return err
	}
	return c.db.InTx(ctx, func(ctx context.Context) error {
		done, err := c.upsertLocked(ctx, v, where, on)
		if done || err != nil {
			return err
		}
		taken := c.db.InTx(ctx, func(ctx context.Context) error {
			return c.Create(ctx, v)
		}, Savepoint())
		var constraint *ConstraintError
		if !errors.As(taken, &constraint) || constraint.Kind != KindUnique {
			return taken
		}
		if done, err = c.upsertLocked(ctx, v, where, on); done || err != nil {
			return err
		}
		return taken
	})
}

// upsertLocked updates the row that conditions name, and says whether there is one.
func (c *cached[T, ID]) upsertLocked(
	ctx context.Context, v *T, where []Cond, on []string,
) (done bool, err error) {
	rows, err := c.Lock(ctx, where...)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	old := &rows[0]
	if err := c.own(ctx, old); err != nil {
		return false, err
	}
	if err := c.Source.Upsert(ctx, v, on...); err != nil {
		return false, err
	}
	c.noteLock(ctx, c.IDOf(v))
	return true, c.touch(ctx, old, v)
}

// UpsertConds returns the conditions that find the row that an Upsert updates. It is for
// implementations of Source. Without columns, the primary key counts.
func UpsertConds[T any, ID comparable](s Source[T, ID], v *T, on []string) ([]Cond, error) {
	if v == nil {
		return nil, fmt.Errorf("repository: %w", ErrNil)
	}
	if len(on) == 0 {
		on = []string{s.Key()}
	}
	where := make([]Cond, len(on))
	for i, column := range on {
		value, err := s.Value(v, column)
		if err != nil {
			return nil, err
		}
		if value == nil {
			return nil, fmt.Errorf("repository: Upsert: %w: column %q is NULL", ErrValue, column)
		}
		where[i] = Eq(column, value)
	}
	return where, nil
}
