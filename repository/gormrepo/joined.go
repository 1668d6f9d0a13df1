// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gormrepo

import (
	"context"
	"database/sql"
	"errors"

	"gorm.io/gorm"

	"github.com/cachewright/cachewright/repository"
)

var errNotYours = errors.New("gormrepo: the transaction is that of InTx; return from its function")

// pool has GORM run its statements in a transaction of InTx. As a committer, it has GORM use
// savepoints for transactions of its own.
type pool struct {
	repository.Querier

	db *sql.DB
}

var (
	_ gorm.ConnPool         = (*pool)(nil)
	_ gorm.TxCommitter      = (*pool)(nil)
	_ gorm.GetDBConnector   = (*pool)(nil)
	_ gorm.ConnPoolBeginner = (*pool)(nil)
)

// Commit refuses: it would pass by the hold in the cache.
func (*pool) Commit() error { return errNotYours }

// Rollback refuses.
func (*pool) Rollback() error { return errNotYours }

// BeginTx refuses.
func (*pool) BeginTx(context.Context, *sql.TxOptions) (gorm.ConnPool, error) {
	return nil, errNotYours
}

// GetDBConn returns the pool of connections that the transaction is of.
func (p *pool) GetDBConn() (*sql.DB, error) { return p.db, nil }

// Joined returns a GORM session in the transaction of db that ctx has, or outside of one. Its
// Commit and Rollback fail: InTx does that. What you change by it, Touch.
func Joined(ctx context.Context, db *repository.DB, g *gorm.DB) *gorm.DB {
	session := g.Session(&gorm.Session{NewDB: true, Context: ctx, SkipDefaultTransaction: true})
	querier := db.Querier(ctx)
	if _, outside := querier.(*sql.DB); !outside {
		connections, err := g.DB()
		_ = session.AddError(err)
		session.Statement.ConnPool = &pool{Querier: querier, db: connections}
	}
	return session
}
