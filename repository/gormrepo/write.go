// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gormrepo

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cachewright/cachewright/repository"
)

// batch is how many rows one INSERT has: databases bound the number of parameters.
const batch = 100

// Create implements repository.Repository.
func (r *Repo[T, ID]) Create(ctx context.Context, v ...*T) error {
	if len(v) > repository.MaxRows {
		return r.typed("Create", fmt.Errorf("%w: at most %d rows",
			repository.ErrTooMany, repository.MaxRows))
	}
	for _, row := range v {
		if row == nil {
			return r.typed("Create", repository.ErrNil)
		}
	}
	switch len(v) {
	case 0:
		return r.typed("Create", repository.ErrNil)
	case 1:
		return r.typed("Create", r.rows(ctx).Create(v[0]).Error)
	}
	return r.db.InTx(ctx, func(ctx context.Context) error {
		return r.typed("Create", r.rows(ctx).CreateInBatches(v, batch).Error)
	})
}

// Update implements repository.Repository.
func (r *Repo[T, ID]) Update(ctx context.Context, v *T) error {
	if v == nil {
		return r.typed("Update", repository.ErrNil)
	}
	var guard []clause.Expression
	if r.version != nil {
		guard = append(guard, clause.Eq{Column: columnOf(r.version), Value: r.versionOf(v)})
	}
	changed, err := r.write(ctx, v, guard, r.versionOf(v)+1)
	if err == nil && changed == 0 {
		err = r.whyUnchanged(ctx, r.IDOf(v))
	}
	return r.typed("Update", err)
}

// whyUnchanged says why no row was changed. MySQL does not count those that had the same values.
func (r *Repo[T, ID]) whyUnchanged(ctx context.Context, id ID) error {
	switch _, err := r.Get(ctx, id); {
	case err != nil:
		return err
	case r.version != nil:
		return repository.ErrStaleCopy
	}
	return nil
}

// write writes all columns of a row, with a version, if the guard lets it.
func (r *Repo[T, ID]) write(
	ctx context.Context, v *T, guard []clause.Expression, version int64,
) (int64, error) {
	row := *v
	if r.version != nil {
		r.setVersion(&row, version)
	}
	statement := Joined(ctx, r.db, r.gorm).Model(&row).Where(r.where(r.IDOf(v)))
	for _, condition := range guard {
		statement = statement.Where(condition)
	}
	done := statement.Select("*").Omit(r.key.DBName, clause.Associations).Updates(&row)
	if done.Error == nil && done.RowsAffected > 0 {
		before := *v
		*v = row
		repository.AfterRollback(ctx, func(context.Context) { *v = before })
	}
	return done.RowsAffected, done.Error
}

func (r *Repo[T, ID]) versionOf(v *T) int64 {
	if r.version == nil {
		return 0
	}
	field := r.version.ReflectValueOf(context.Background(), reflect.ValueOf(v))
	return field.Convert(reflect.TypeFor[int64]()).Int()
}

func (r *Repo[T, ID]) setVersion(v *T, version int64) {
	field := r.version.ReflectValueOf(context.Background(), reflect.ValueOf(v))
	field.Set(reflect.ValueOf(version).Convert(field.Type()))
}

// Patch implements repository.Repository.
func (r *Repo[T, ID]) Patch(
	ctx context.Context, id ID, set ...repository.Set,
) (patched T, err error) {
	values, err := r.assignments(set)
	if err != nil {
		return patched, r.typed("Patch", err)
	}
	err = r.db.InTx(ctx, func(ctx context.Context) error {
		if patched, err = r.GetForUpdate(ctx, id); err != nil {
			return err
		}
		if err := r.rows(ctx).Where(r.where(id)).Updates(values).Error; err != nil {
			return r.typed("Patch", err)
		}
		patched, err = r.GetForUpdate(ctx, id)
		return err
	})
	return patched, err
}

// assignments are the values of a Patch by their columns.
func (r *Repo[T, ID]) assignments(set []repository.Set) (map[string]any, error) {
	if len(set) == 0 {
		return nil, fmt.Errorf("%w: nothing is set", repository.ErrColumn)
	}
	values := map[string]any{}
	for _, s := range set {
		f, err := r.field(s.Column)
		if err != nil {
			return nil, err
		}
		if _, twice := values[s.Column]; twice || f == r.key || f == r.version {
			return nil, fmt.Errorf("%w: %q is set twice, or is not yours to set",
				repository.ErrColumn, s.Column)
		}
		if values[s.Column] = s.Value; s.Value == nil {
			continue
		}
		if values[s.Column], err = r.Convert(s.Column, s.Value); err != nil {
			return nil, err
		}
	}
	if r.version != nil {
		values[r.version.DBName] = gorm.Expr("? + 1", clause.Column{Name: r.version.DBName})
	}
	return values, nil
}

// Upsert implements repository.Repository. It locks the row, as not all databases can say which
// unique index an INSERT may run into.
func (r *Repo[T, ID]) Upsert(ctx context.Context, v *T, on ...string) error {
	where, err := repository.UpsertConds(r, v, on)
	if err != nil {
		return r.typed("Upsert", err)
	}
	return r.db.InTx(ctx, func(ctx context.Context) error {
		done, err := r.updateLocked(ctx, v, where)
		if done || err != nil {
			return err
		}
		taken := r.db.InTx(ctx, func(ctx context.Context) error {
			return r.Create(ctx, v)
		}, repository.Savepoint())
		var constraint *repository.ConstraintError
		if !errors.As(taken, &constraint) || constraint.Kind != repository.KindUnique {
			return taken
		}
		if done, err = r.updateLocked(ctx, v, where); done || err != nil {
			return err
		}
		return taken
	})
}

// updateLocked writes v in place of the row that conditions find, and says whether there is one.
func (r *Repo[T, ID]) updateLocked(
	ctx context.Context, v *T, where []repository.Cond,
) (bool, error) {
	rows, err := r.Lock(ctx, where...)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	if len(rows) > 1 {
		return false, r.typed("Upsert", fmt.Errorf("%w: its columns are not unique",
			repository.ErrTooMany))
	}
	before := *v
	row := reflect.ValueOf(v)
	r.key.ReflectValueOf(ctx, row).Set(r.key.ReflectValueOf(ctx, reflect.ValueOf(&rows[0])))
	repository.AfterRollback(ctx, func(context.Context) { *v = before })
	_, err = r.write(ctx, v, nil, r.versionOf(&rows[0])+1)
	return true, r.typed("Upsert", err)
}

// Delete implements repository.Repository.
func (r *Repo[T, ID]) Delete(ctx context.Context, id ID) error {
	done := r.rows(ctx).Where(r.where(id)).Delete(new(T))
	err := done.Error
	if err == nil && done.RowsAffected == 0 {
		err = repository.ErrNotFound
	}
	return r.typed("Delete", err)
}
