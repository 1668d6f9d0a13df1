// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gormrepo

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"

	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/cachewright/cachewright/repository"
)

// maxCursor bounds the length of a cursor that a client sends.
const maxCursor = 4096

// by is a column that sorts.
type by struct {
	field *schema.Field
	desc  bool
}

// order is that of a query, and the primary key.
func (r *Repo[T, ID]) order(asked []repository.Order) ([]by, error) {
	var all []by
	for _, o := range asked {
		f, err := r.field(o.Column)
		if err != nil {
			return nil, err
		}
		all = append(all, by{field: f, desc: o.Desc})
		if f == r.key {
			return all, nil // nothing after it can matter
		}
	}
	return append(all, by{field: r.key}), nil
}

// keyset finds the place of a page by the values of the row before it.
type keyset[T any, ID comparable] struct {
	repo  *Repo[T, ID]
	order []by
	query string // what the cursor is for
}

// place is what a cursor says.
type place struct {
	Query  string            `json:"q"`
	Values []json.RawMessage `json:"v"`
}

func (r *Repo[T, ID]) keyset(q repository.Query) (*keyset[T, ID], error) {
	order, err := r.order(q.Order)
	if err != nil {
		return nil, err
	}
	for _, o := range order {
		if o.field.FieldType != o.field.IndirectFieldType {
			return nil, fmt.Errorf("%w: pages cannot be sorted by %q, which may be NULL",
				repository.ErrColumn, o.field.DBName)
		}
	}
	said, err := json.Marshal([]any{r.schema.Table, q.Where, q.Order})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", repository.ErrValue, err)
	}
	sum := sha256.Sum256(said)
	return &keyset[T, ID]{
		repo: r, order: order, query: base64.RawURLEncoding.EncodeToString(sum[:9]),
	}, nil
}

// cursor is the place after a row.
func (k *keyset[T, ID]) cursor(v *T) (repository.Cursor, error) {
	at := place{Query: k.query}
	for _, o := range k.order {
		value, err := k.repo.Value(v, o.field.DBName)
		if err != nil {
			return "", err
		}
		said, err := json.Marshal(value)
		if err != nil {
			return "", fmt.Errorf("%w: %w", repository.ErrValue, err)
		}
		at.Values = append(at.Values, said)
	}
	said, err := json.Marshal(at)
	return repository.Cursor(base64.RawURLEncoding.EncodeToString(said)), err
}

// beyond is true for rows after a place.
func (k *keyset[T, ID]) beyond(after repository.Cursor) (clause.Expression, error) {
	values, err := k.read(after)
	if err != nil {
		return nil, err
	}
	var steps, equal []clause.Expression
	for i, o := range k.order {
		column := columnOf(o.field)
		op := repository.OpGt
		if o.desc {
			op = repository.OpLt
		}
		step := append([]clause.Expression{}, equal...)
		steps = append(steps, clause.And(append(step, compare(column, op, values[i]))...))
		equal = append(equal, clause.Eq{Column: column, Value: values[i]})
	}
	return clause.And(clause.Or(steps...)), nil
}

// read returns the values of a cursor, each of the type of its column.
func (k *keyset[T, ID]) read(after repository.Cursor) ([]any, error) {
	var at place
	said, err := base64.RawURLEncoding.DecodeString(string(after[:min(len(after), maxCursor)]))
	if err == nil {
		err = json.Unmarshal(said, &at)
	}
	if err != nil || len(after) > maxCursor || at.Query != k.query ||
		len(at.Values) != len(k.order) {
		return nil, repository.ErrCursor
	}
	values := make([]any, len(k.order))
	for i, o := range k.order {
		into := reflect.New(o.field.FieldType)
		if json.Unmarshal(at.Values[i], into.Interface()) != nil {
			return nil, repository.ErrCursor
		}
		if values[i], err = plain(into.Elem().Interface()); err != nil || values[i] == nil {
			return nil, repository.ErrCursor
		}
	}
	return values, nil
}
