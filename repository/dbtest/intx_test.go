// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/cachewright/cachewright/repository"
)

func TestATransactionIsCommittedOrUndone(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		db := open(t, pool, b.dialect)
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			if err := set(ctx, db, b, 1, 90); err != nil {
				return err
			}
			return db.InTx(ctx, func(ctx context.Context) error { return set(ctx, db, b, 2, 110) })
		})
		if err != nil || balance(t, b, pool, 1) != 90 || balance(t, b, pool, 2) != 110 {
			t.Errorf("committed %d, %d: %v", balance(t, b, pool, 1), balance(t, b, pool, 2), err)
		}

		err = db.InTx(t.Context(), func(ctx context.Context) error {
			return errors.Join(set(ctx, db, b, 1, 1), errOurs)
		})
		if !errors.Is(err, errOurs) || balance(t, b, pool, 1) != 90 {
			t.Errorf("an error left %d: %v", balance(t, b, pool, 1), err)
		}

		func() {
			defer func() {
				if recover() != "panic of the function" {
					t.Error("the panic did not go on")
				}
			}()
			_ = db.InTx(t.Context(), func(ctx context.Context) error {
				if err := set(ctx, db, b, 1, 2); err != nil {
					return err
				}
				panic("panic of the function")
			})
		}()
		if balance(t, b, pool, 1) != 90 {
			t.Errorf("a panic left %d", balance(t, b, pool, 1))
		}
		if want := (repository.Stats{Committed: 1, RolledBack: 2}); db.Stats() != want {
			t.Errorf("got %+v, want %+v", db.Stats(), want)
		}
		if inUse := pool.Stats().InUse; inUse != 0 {
			t.Errorf("%d connections are still in use", inUse)
		}
	})
}

func TestAFailedInnerTransactionRollsTheOuterOneBack(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		db := open(t, pool, b.dialect)
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			inner := db.InTx(ctx, func(ctx context.Context) error {
				return errors.Join(set(ctx, db, b, 1, 90), errOurs)
			})
			if !errors.Is(inner, errOurs) {
				t.Errorf("the inner one returned %v", inner)
			}
			if err := set(ctx, db, b, 2, 110); !errors.Is(err, repository.ErrOver) {
				t.Errorf("a statement after it returned %v", err)
			}
			return nil
		})
		if !errors.Is(err, errOurs) || balance(t, b, pool, 1) != 100 {
			t.Errorf("left %d: %v", balance(t, b, pool, 1), err)
		}
	})
}

func TestASavepointIsUndoneAlone(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		db := open(t, pool, b.dialect)
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			if err := set(ctx, db, b, 1, 90); err != nil {
				return err
			}
			inner := db.InTx(ctx, func(ctx context.Context) error { // breaks a constraint
				if err := set(ctx, db, b, 2, 1); err != nil {
					return err
				}
				return set(ctx, db, b, 1, -1)
			}, repository.Savepoint())
			if !errors.Is(inner, repository.ErrConstraint) {
				t.Errorf("the inner one returned %v", inner)
			}
			return db.InTx(ctx, func(ctx context.Context) error { return set(ctx, db, b, 2, 120) }, repository.Savepoint())
		})
		if err != nil || balance(t, b, pool, 1) != 90 || balance(t, b, pool, 2) != 120 {
			t.Errorf("committed %d, %d: %v", balance(t, b, pool, 1), balance(t, b, pool, 2), err)
		}
	})
}

func TestErrorsOfDriversAreTyped(t *testing.T) {
	t.Parallel()
	rows := map[string]struct {
		query string
		is    error
		kind  repository.ConstraintKind
	}{
		"not found":   {"SELECT id FROM accounts WHERE id = 3", repository.ErrNotFound, ""},
		"unique":      {"INSERT INTO accounts VALUES (3, 1, 'ada')", repository.ErrConstraint, repository.KindUnique},
		"primary key": {"INSERT INTO accounts VALUES (1, 1, 'eve')", repository.ErrConstraint, repository.KindUnique},
		"foreign key": {"INSERT INTO orders VALUES (1, 9)", repository.ErrConstraint, repository.KindForeignKey},
		"referenced":  {"DELETE FROM accounts WHERE id = 2", repository.ErrConstraint, repository.KindForeignKey},
		"not null":    {"INSERT INTO accounts VALUES (3, NULL, 'eve')", repository.ErrConstraint, repository.KindNotNull},
		"check":       {"UPDATE accounts SET balance = -1 WHERE id = 1", repository.ErrConstraint, repository.KindCheck},
	}
	onEach(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		db := open(t, pool, b.dialect)
		execute(t, pool, "INSERT INTO orders VALUES (7, 2)")
		for name, row := range rows {
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				var id int
				if row.kind == "" {
					return db.Querier(ctx).QueryRowContext(ctx, row.query).Scan(&id)
				}
				_, err := db.Querier(ctx).ExecContext(ctx, row.query)
				return err
			})
			if !errors.Is(err, row.is) {
				t.Errorf("%s: got %T %v", name, err, err)
			}
			var broken *repository.ConstraintError
			if row.kind != "" && (!errors.As(err, &broken) || broken.Kind != row.kind) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if err := db.Typed(sql.ErrTxDone); !errors.Is(err, sql.ErrTxDone) || err.Error() != sql.ErrTxDone.Error() {
			t.Errorf("got %v for an error of no kind", err)
		}
	})
}
