// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gormrepo

import (
	"context"
	"database/sql/driver"
	"fmt"
	"reflect"
	"time"

	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/cachewright/cachewright/repository"
)

// field finds a column.
func (r *Repo[T, ID]) field(column string) (*schema.Field, error) {
	f := r.schema.FieldsByDBName[column]
	if f == nil {
		return nil, fmt.Errorf("gormrepo: %w: %q of table %s",
			repository.ErrColumn, column, r.schema.Table)
	}
	return f, nil
}

// Value implements repository.Source.
func (r *Repo[T, ID]) Value(v *T, column string) (any, error) {
	f, err := r.field(column)
	if err != nil {
		return nil, err
	}
	return plain(f.ReflectValueOf(context.Background(), reflect.ValueOf(v)).Interface())
}

// Convert implements repository.Source.
func (r *Repo[T, ID]) Convert(column string, value any) (any, error) {
	f, err := r.field(column)
	if err != nil {
		return nil, err
	}
	converted, ok := convert(reflect.ValueOf(value), f.IndirectFieldType)
	if !ok {
		return nil, fmt.Errorf("gormrepo: %w: column %q has type %s, not %T",
			repository.ErrValue, column, f.IndirectFieldType, value)
	}
	return plain(converted)
}

// convert takes what is of a type, or of the same kind and within its bounds.
func convert(value reflect.Value, to reflect.Type) (any, bool) {
	for value.Kind() == reflect.Pointer && !value.IsNil() && value.Type() != to {
		value = value.Elem()
	}
	switch {
	case !value.IsValid():
		return nil, false
	case value.Type() == to:
		return value.Interface(), true
	case kindOf(value.Type()) == reflect.Invalid || kindOf(value.Type()) != kindOf(to):
		return nil, false
	}
	converted := value.Convert(to)
	return converted.Interface(), kindOf(to) != reflect.Int || sameInteger(value, converted)
}

// sameInteger says whether a conversion kept the number.
func sameInteger(before, after reflect.Value) bool {
	return before.Equal(after.Convert(before.Type())) && isNegative(before) == isNegative(after)
}

func isNegative(v reflect.Value) bool { return v.CanInt() && v.Int() < 0 }

// kindOf takes kinds together that differ in their bounds alone.
func kindOf(t reflect.Type) reflect.Kind {
	switch value := reflect.Zero(t); {
	case value.CanInt(), value.CanUint():
		return reflect.Int
	case value.CanFloat():
		return reflect.Float64
	case t.Kind() == reflect.String, t.Kind() == reflect.Bool:
		return t.Kind()
	default:
		return reflect.Invalid
	}
}

// plain returns a value in the form that drivers get.
func plain(value any) (any, error) {
	if valuer, ok := value.(driver.Valuer); ok {
		if v := reflect.ValueOf(value); v.Kind() == reflect.Pointer && v.IsNil() {
			return nil, nil //nolint:nilnil // NULL
		}
		return valuer.Value()
	}
	v := reflect.ValueOf(value)
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, nil //nolint:nilnil // NULL
		}
		v = v.Elem()
	}
	switch {
	case !v.IsValid():
		return nil, nil //nolint:nilnil // NULL
	case v.CanInt():
		return v.Int(), nil
	case v.CanUint():
		return v.Uint(), nil
	case v.CanFloat():
		return v.Float(), nil
	case v.Kind() == reflect.String:
		return v.String(), nil
	case v.Kind() == reflect.Bool:
		return v.Bool(), nil
	}
	if at, ok := v.Interface().(time.Time); ok {
		return at.UTC(), nil
	}
	return v.Interface(), nil
}

// conditions translates conditions, and refuses those that are not valid.
func (r *Repo[T, ID]) conditions(where []repository.Cond) ([]clause.Expression, error) {
	all := make([]clause.Expression, 0, len(where))
	for _, cond := range where {
		expression, err := r.condition(cond)
		if err != nil {
			return nil, err
		}
		all = append(all, expression)
	}
	return all, nil
}

func (r *Repo[T, ID]) condition(cond repository.Cond) (clause.Expression, error) {
	f, err := r.field(cond.Column)
	if err != nil {
		return nil, err
	}
	column := columnOf(f)
	switch cond.Op {
	case repository.OpNull:
		return clause.Eq{Column: column}, nil
	case repository.OpNotNull:
		return clause.Neq{Column: column}, nil
	case repository.OpIn:
		return r.anyOf(column, cond)
	}
	value, err := r.Convert(cond.Column, cond.Value)
	if err != nil {
		return nil, err
	}
	switch cond.Op {
	case repository.OpEq:
		return r.equal(column, value), nil
	case repository.OpNe:
		return clause.Not(r.equal(column, value)), nil
	default:
		return compare(column, cond.Op, value), nil
	}
}

// compare is a comparison by order.
func compare(column clause.Column, op repository.Op, value any) clause.Expression {
	switch op {
	case repository.OpLt:
		return clause.Lt{Column: column, Value: value}
	case repository.OpLe:
		return clause.Lte{Column: column, Value: value}
	case repository.OpGt:
		return clause.Gt{Column: column, Value: value}
	default:
		return clause.Gte{Column: column, Value: value}
	}
}

// equal compares exactly. MySQL's collations have values that differ as equal: then the bytes
// decide, after the index.
func (r *Repo[T, ID]) equal(column clause.Column, value any) clause.Expression {
	equal := clause.Eq{Column: column, Value: value}
	if _, text := value.(string); !text || r.gorm.Name() != "mysql" {
		return equal
	}
	return clause.Expr{SQL: "(? = ? AND ? = BINARY ?)", Vars: []any{column, value, column, value}}
}

// anyOf is true for none if there are no values.
func (r *Repo[T, ID]) anyOf(
	column clause.Column, cond repository.Cond,
) (clause.Expression, error) {
	values, _ := cond.Value.([]any)
	if len(values) == 0 {
		return clause.Expr{SQL: "1 = 0"}, nil
	}
	exact := make([]clause.Expression, len(values))
	plains := make([]any, len(values))
	texts := false
	for i, value := range values {
		converted, err := r.Convert(cond.Column, value)
		if err != nil {
			return nil, err
		}
		exact[i], plains[i] = r.equal(column, converted), converted
		_, text := converted.(string)
		texts = texts || text
	}
	if !texts || r.gorm.Name() != "mysql" {
		return clause.IN{Column: column, Values: plains}, nil
	}
	return clause.And(clause.Or(exact...)), nil
}
