// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"fmt"
	"slices"

	"github.com/cachewright/cachewright/repository/internal/dialect"
	"github.com/cachewright/cachewright/repository/internal/outbox"
)

// OutboxChannel is what PostgreSQL notifies when a trigger of TriggerSQL has written a row: LISTEN
// on it, and call Relay.Wake. pgxtx has that.
const OutboxChannel = outbox.Channel

// WithOutbox has each transaction of InTx that is not ReadOnly write a row into the table of
// OutboxSQL: what it touched. Off by default. It does two things:
//
// If the connection is lost in COMMIT, InTx finds out on every database what became of the
// transaction: whether its row is there. So it returns nil, or runs the function again: exactly
// once in all.
//
// A Relay invalidates what the rows name, also if the writer has died and the cache has lost its
// hold. Without any Relay, the table grows.
func WithOutbox() Option { return func(o *options) { o.outbox = true } }

// box returns what writes to the outbox, or nil.
func (o *options) box(d Dialect, speaks dialect.Dialect) *outbox.Box {
	if !o.outbox {
		return nil
	}
	return outbox.NewBox(outboxOf(d), speaks.Fault)
}

func outboxOf(d Dialect) *outbox.SQL {
	switch d {
	case Postgres:
		return outbox.Postgres()
	case MySQL:
		return outbox.MySQL()
	default:
		return outbox.SQLite()
	}
}

// OutboxSQL returns the statements that install the table of WithOutbox: run each once, as a
// migration. They change nothing that is there. The roles that use the database need SELECT,
// INSERT, UPDATE and DELETE on cachewright_outbox.
func OutboxSQL(d Dialect) ([]string, error) {
	if _, err := dialectOf(d); err != nil {
		return nil, fmt.Errorf("repository: OutboxSQL: %w", err)
	}
	return slices.Clone(outboxOf(d).Install), nil
}

// Watched is a table whose changes a trigger writes to the outbox. It says what they end of a
// module of the cache. If neither Entries nor Operations are given, it is the whole module.
type Watched = outbox.Watched

// WatchedEntry is an operation whose params are the value of a column, such as getById and id. The
// column holds integers or text.
type WatchedEntry = outbox.Entry

// TriggerSQL returns the statements that make the triggers of a table, for SQL that does not come
// through InTx. Run each, in one transaction where the database can. They replace those of the same
// table. The table of OutboxSQL must be there. Names are used as they are given, and have letters,
// digits and underscores.
//
// PostgreSQL calls a trigger once for each statement, and leaves out what InTx does. Other
// databases call one for each row, also in InTx.
func TriggerSQL(d Dialect, w Watched) ([]string, error) {
	if _, err := dialectOf(d); err != nil {
		return nil, fmt.Errorf("repository: TriggerSQL: %w", err)
	}
	statements, err := outboxOf(d).Trigger(w)
	if err != nil {
		return nil, fmt.Errorf("repository: TriggerSQL: %w", err)
	}
	return statements, nil
}
