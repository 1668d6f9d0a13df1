// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cachewright/cachewright/cache"
)

// Operations of a module.
const (
	opGet   = "getById"
	opList  = "list"
	opCount = "count"
)

// undivided is the partition of lists that are not of one value. Others have a "=" in their name.
const undivided = "all"

// maxUser bounds the name of a partition, which takes the place of a user.
const maxUser = 256

var errOwner = fmt.Errorf("%w: the row belongs to another user", ErrValue)

// keys names the entries of a table.
type keys[T any, ID comparable] struct {
	source  Source[T, ID]
	options cachedOptions
}

// check says what is wrong with the options.
func (k *keys[T, ID]) check() error {
	o := &k.options
	if o.module == "" {
		return errors.New("name the module, by Module")
	}
	columns := slices.Concat(o.unique, o.partition)
	if o.owner != "" || o.user != nil {
		if o.owner == "" || o.user == nil {
			return errors.New("PerUser takes a column and a function")
		}
		columns = append(columns, o.owner)
		o.partition = append([]string{o.owner}, o.partition...)
	}
	for _, column := range columns {
		value, err := k.source.Value(new(T), column)
		if err != nil {
			return err
		}
		_, isText := value.(string)
		if _, err := text(value); err != nil || column == o.owner && !isText {
			return fmt.Errorf("%w: column %q must be a text, or without PerUser an integer or a boolean",
				ErrColumn, column)
		}
	}
	return nil
}

// text writes a value of a column that names an entry or a partition. A NULL names none.
func text(value any) (string, error) {
	switch value.(type) {
	case nil:
		return "", nil
	case string, int64, uint64, bool:
		return fmt.Sprint(value), nil
	default:
		return "", fmt.Errorf("%w: only texts, integers and booleans can divide what is cached",
			ErrColumn)
	}
}

// userOf returns the user of a context. It is empty without PerUser.
func (k *keys[T, ID]) userOf(ctx context.Context) (string, error) {
	if k.options.user == nil {
		return "", nil
	}
	user := k.options.user(ctx)
	if user == "" || len(user) > maxUser {
		return "", fmt.Errorf("repository: %w: PerUser found no user of 1 to %d bytes",
			ErrValue, maxUser)
	}
	return user, nil
}

// owner returns the user that a row belongs to. It is empty without PerUser.
func (k *keys[T, ID]) owner(v *T) (string, error) {
	if k.options.user == nil {
		return "", nil
	}
	value, err := k.source.Value(v, k.options.owner)
	if err != nil {
		return "", err
	}
	return text(value)
}

// mine says whether the row of a user is that of the context.
func (k *keys[T, ID]) mine(v *T, user string) (bool, error) {
	owner, err := k.owner(v)
	return owner == user, err
}

// where adds the condition of PerUser to others.
func (k *keys[T, ID]) where(user string, w []Cond) []Cond {
	if user == "" {
		return w
	}
	return append([]Cond{Eq(k.options.owner, user)}, w...)
}

func (k *keys[T, ID]) entry(id ID, user string) cache.Key {
	return cache.Key{Module: k.options.module, Operation: opGet, Params: id, User: user}
}

func (k *keys[T, ID]) lookup(column string, value any, user string) cache.Key {
	return cache.Key{
		Module: k.options.module, Operation: operationOf(column), Params: value, User: user,
	}
}

// operationOf returns getByAuthorId for author_id.
func operationOf(column string) string {
	var name strings.Builder
	name.WriteString("getBy")
	for part := range strings.SplitSeq(column, "_") {
		if part != "" {
			name.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return name.String()
}

// uniqueOf finds the one column, and its value, that a query looks up.
func (k *keys[T, ID]) uniqueOf(q Query) (column string, value any) {
	if len(q.Where) != 1 || q.Where[0].Op != OpEq || q.Offset != 0 || len(q.Order) != 0 ||
		!slices.Contains(k.options.unique, q.Where[0].Column) {
		return "", nil
	}
	value, err := k.source.Convert(q.Where[0].Column, q.Where[0].Value)
	if err != nil {
		return "", nil
	}
	return q.Where[0].Column, value
}

// many names a list or a count. It is params of a key, so its fields are exported.
type many struct {
	What   string
	Where  []Cond
	Order  []Order
	Limit  int
	Offset int
	After  Cursor
}

// list names the entry of a query, whose values get the form that the database gets.
func (k *keys[T, ID]) list(operation string, m many) (cache.Key, error) {
	where := make([]Cond, len(m.Where))
	for i, cond := range m.Where {
		value, err := k.convert(cond)
		if err != nil {
			return cache.Key{}, err
		}
		where[i] = Cond{Column: cond.Column, Op: cond.Op, Value: value}
	}
	m.Where = where
	return cache.Key{
		Module: k.options.module, Operation: operation, Params: m, User: k.partitionOf(where),
	}, nil
}

func (k *keys[T, ID]) convert(cond Cond) (any, error) {
	values, several := cond.Value.([]any)
	switch {
	case cond.Value == nil:
		return nil, nil //nolint:nilnil // a condition without a value
	case !several:
		return k.source.Convert(cond.Column, cond.Value)
	}
	converted := make([]any, len(values))
	for i, value := range values {
		var err error
		if converted[i], err = k.source.Convert(cond.Column, value); err != nil {
			return nil, err
		}
	}
	return converted, nil
}

// partitionOf returns the partition that has all that conditions can name.
func (k *keys[T, ID]) partitionOf(where []Cond) string {
	if len(k.options.partition) == 0 {
		return ""
	}
	for _, column := range k.options.partition {
		for _, cond := range where {
			if cond.Column == column && cond.Op == OpEq {
				return partition(column, cond.Value)
			}
		}
	}
	return undivided
}

// partition is the name of one partition, which no user's is as long as users have no "=".
func partition(column string, value any) string {
	name := column + "=" + fmt.Sprint(value)
	if len(name) <= maxUser {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return column[:min(len(column), maxUser/2)] + "=#" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// covered is all that may be cached of a row.
func (k *keys[T, ID]) covered(v *T) ([]cache.Covered, error) {
	user, err := k.owner(v)
	if err != nil {
		return nil, err
	}
	module := k.options.module
	on := []cache.Covered{k.entry(k.source.IDOf(v), user)}
	for _, column := range k.options.unique {
		value, err := k.source.Value(v, column)
		if err != nil {
			return nil, err
		}
		if value != nil {
			on = append(on, k.lookup(column, value, user))
		}
	}
	if len(k.options.partition) == 0 {
		return append(on, cache.Scope{Module: module, Operation: opList},
			cache.Scope{Module: module, Operation: opCount}), nil
	}
	on = append(on, cache.Scope{Module: module, User: undivided})
	for _, column := range k.options.partition {
		value, err := k.source.Value(v, column)
		if err != nil {
			return nil, err
		}
		if value != nil {
			on = append(on, cache.Scope{Module: module, User: partition(column, value)})
		}
	}
	return on, nil
}
