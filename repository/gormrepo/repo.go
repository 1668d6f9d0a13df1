// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gormrepo has the repositories of package repository over GORM. It is a module of its own,
// and imports no driver.
//
//	g, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}), &gorm.Config{})
//	db, err := repository.Open(pool, repository.Postgres, repository.WithCache(users))
//	articles, err := gormrepo.New[Article, int64](db, g, gormrepo.Version("version"))
//
// GORM works in the transactions of repository.DB.InTx, and cannot end them: see Joined.
package gormrepo

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/cachewright/cachewright/repository"
)

// Option changes a Repo.
type Option func(*options)

type options struct{ version string }

// Version names an integer column that counts the changes of a row. Update and Patch count it up,
// and Update refuses a row whose version is not that of the database, with ErrStaleCopy.
func Version(column string) Option { return func(o *options) { o.version = column } }

// Repo is a repository.Source over GORM. Get one with New.
type Repo[T any, ID comparable] struct {
	db      *repository.DB
	gorm    *gorm.DB
	schema  *schema.Schema
	key     *schema.Field
	version *schema.Field // nil: there is none
}

// New returns a Repo of the table of T. GORM must use the pool of db. T must have one column as its
// primary key, whose type is ID. Rows of a T with a gorm.DeletedAt are only marked as deleted.
func New[T any, ID comparable](
	db *repository.DB, g *gorm.DB, opts ...Option,
) (*Repo[T, ID], error) {
	if db == nil || g == nil {
		return nil, errors.New("gormrepo: a database is nil; open both before")
	}
	var o options
	for _, option := range opts {
		option(&o)
	}
	statement := &gorm.Statement{DB: g}
	if err := statement.Parse(new(T)); err != nil {
		return nil, fmt.Errorf("gormrepo: the type %T is no table: %w", *new(T), err)
	}
	r := &Repo[T, ID]{db: db, gorm: g, schema: statement.Schema}
	if len(r.schema.PrimaryFields) != 1 {
		return nil, fmt.Errorf("gormrepo: %T needs one column as its primary key", *new(T))
	}
	r.key = r.schema.PrimaryFields[0]
	if r.key.FieldType != reflect.TypeFor[ID]() {
		return nil, fmt.Errorf("gormrepo: %w: the primary key of %T is of type %s, not %s",
			repository.ErrValue, *new(T), r.key.FieldType, reflect.TypeFor[ID]())
	}
	if o.version != "" {
		if r.version = r.schema.FieldsByDBName[o.version]; r.version == nil ||
			!r.version.FieldType.ConvertibleTo(reflect.TypeFor[int64]()) ||
			r.version.FieldType.Kind() == reflect.Float64 {
			return nil, fmt.Errorf("gormrepo: %w: version column %q", repository.ErrColumn, o.version)
		}
	}
	return r, nil
}

// DB implements repository.Source.
func (r *Repo[T, ID]) DB() *repository.DB { return r.db }

// Key implements repository.Source.
func (r *Repo[T, ID]) Key() string { return r.key.DBName }

// Versioned implements repository.Source.
func (r *Repo[T, ID]) Versioned() bool { return r.version != nil }

// IDOf implements repository.Source.
func (r *Repo[T, ID]) IDOf(v *T) ID {
	id, _ := r.key.ReflectValueOf(context.Background(), reflect.ValueOf(v)).Interface().(ID)
	return id
}

// rows begins a statement about the table.
func (r *Repo[T, ID]) rows(ctx context.Context) *gorm.DB {
	return Joined(ctx, r.db, r.gorm).Model(new(T)).Omit(clause.Associations)
}

// where is the condition for one row.
func (r *Repo[T, ID]) where(id ID) clause.Expression {
	return clause.Eq{Column: columnOf(r.key), Value: id}
}

// typed says what an error is, and where it comes from.
func (r *Repo[T, ID]) typed(what string, err error) error {
	if err == nil {
		return nil
	}
	if err = r.db.Typed(err); errors.Is(err, gorm.ErrRecordNotFound) {
		err = repository.ErrNotFound
	}
	return fmt.Errorf("gormrepo: %s of %s: %w", what, r.schema.Table, err)
}

func columnOf(f *schema.Field) clause.Column {
	return clause.Column{Table: clause.CurrentTable, Name: f.DBName}
}
