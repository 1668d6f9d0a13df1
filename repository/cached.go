// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/cachewright/cachewright/cache"
)

// CachedOption changes what Cached does.
type CachedOption func(*cachedOptions)

type cachedOptions struct {
	module    string
	unique    []string
	partition []string
	owner     string
	user      func(context.Context) string
}

// Module is the module of the cache that has the rows of this table, and of no other. It must be
// set.
func Module(name string) CachedOption { return func(o *cachedOptions) { o.module = name } }

// Unique names a column that no two rows share. Find with Eq on it alone is cached as operation
// getByEmail, for a column email.
func Unique(column string) CachedOption {
	return func(o *cachedOptions) { o.unique = append(o.unique, column) }
}

// Partition divides lists and counts by a column. A change of a row ends those of its old and of
// its new value, and those that are not of one value. Others stay. The first Partition for which a
// query has an Eq applies.
func Partition(column string) CachedOption {
	return func(o *cachedOptions) { o.partition = append(o.partition, column) }
}

// PerUser is for rows that belong to a user, who is named in a column. The Repository has only the
// rows of the user that the function finds in the context: any others do not exist. Entries are
// those of the user, so that cache.InvalidateUser finds them. Lists and counts are not: the column
// divides them as a Partition.
func PerUser(column string, user func(context.Context) string) CachedOption {
	return func(o *cachedOptions) { o.owner, o.user = column, user }
}

// Cached returns a Repository that reads through a cache. The rows that it writes, it holds there
// from before COMMIT until the outcome is known: see DB.InTx. So no read is older than a commit
// that was there before it began.
//
// The operations are getById, getBy and a name for each Unique, list for Find and Page, and count
// for Count and Exists. The policy of the module says what is cached. Each and GetForUpdate always
// read the database. So does all that has the context of a transaction. Without the cache the
// database answers.
//
// r must be a Source, and c the cache that its DB was opened with. Write through Cached only, or
// use Touch. What is cached must survive its codec. With JSON, a column whose field is not encoded
// is empty after a hit, and Update would write that.
//
// If r does not check a version, Update takes only rows that GetForUpdate or a write gave in the
// same transaction. Others may be copies from the cache: ErrStaleCopy.
func Cached[T any, ID comparable](
	r Repository[T, ID], c cache.Cache, opts ...CachedOption,
) (Repository[T, ID], error) {
	var o cachedOptions
	for _, option := range opts {
		option(&o)
	}
	source, ok := r.(Source[T, ID])
	if !ok {
		return nil, fmt.Errorf("repository: Cached: %T is no Source; use one of gormrepo", r)
	}
	k := &keys[T, ID]{source: source, options: o}
	if err := k.check(); err != nil {
		return nil, fmt.Errorf("repository: Cached: %w", err)
	}
	db := source.DB()
	if db.cache == nil || !same(db.cache, c) {
		return nil, errors.New("repository: Cached: open the DB with the same cache, by WithCache")
	}
	return &cached[T, ID]{Source: source, keys: k, db: db, cache: c}, nil
}

func same(a, b any) bool {
	return b != nil && reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() &&
		a == b
}

// cached is a Source with a cache before it.
type cached[T any, ID comparable] struct {
	Source[T, ID]

	keys  *keys[T, ID]
	db    *DB
	cache cache.Cache
}

// inTx says whether the context has a transaction, which reads past the cache.
func (c *cached[T, ID]) inTx(ctx context.Context) bool { return c.db.engine.FrameOf(ctx) != nil }
