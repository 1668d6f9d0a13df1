// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository/internal/touched"
)

// holdTime is how long a hold lasts whose release does not reach Redis.
const holdTime = 2 * time.Second

var errSetAside = errors.New("rows of the outbox that are not ours were set aside: something " +
	"else writes into its table")

// querier is a transaction or a pool.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// row is an open one.
type row struct {
	id int64
	on []cache.Covered
}

// taken is what was read of the table at once.
type taken struct {
	rows     []row
	setAside []int64
}

// carry takes rows, invalidates what they name, and marks them.
func (r *Relay) carry(ctx context.Context, q querier) (full bool, err error) {
	found, err := r.take(ctx, q)
	if err != nil {
		return false, err
	}
	done, late, failed := r.invalidate(ctx, found.rows)
	err = r.write(ctx, q, r.config.SQL.mark, append(done, found.setAside...))
	if err == nil {
		err = r.write(ctx, q, r.config.SQL.postpone, late)
	}
	if err != nil {
		return false, errors.Join(failed, err)
	}
	r.note(func(f *Figures) {
		f.Rows += int64(len(done))
		f.SetAside += int64(len(found.setAside))
	})
	if len(found.setAside) > 0 {
		r.config.Warn(errSetAside)
	}
	return len(found.rows)+len(found.setAside) == batch, failed
}

// take reads open rows.
func (r *Relay) take(ctx context.Context, q querier) (found taken, err error) {
	rows, err := q.QueryContext(ctx,
		fill(r.config.SQL.take, ":bytes", number(maxRead), ":rows", number(batch)))
	if err != nil {
		return found, fmt.Errorf("reading the outbox, the table of OutboxSQL: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id int64
		var covers string
		if err := rows.Scan(&id, &covers); err != nil {
			return found, fmt.Errorf("reading the outbox: %w", err)
		}
		on, err := decode(covers)
		if err != nil {
			found.setAside = append(found.setAside, id)
			continue
		}
		found.rows = append(found.rows, row{id: id, on: on})
	}
	return found, rows.Err()
}

// invalidate invalidates what rows name: all at once, or else one by one, so that one of them
// cannot stop the others.
func (r *Relay) invalidate(
	ctx context.Context, rows []row,
) (done, late []int64, failed error) {
	if r.end(ctx, rows) == nil {
		for _, row := range rows {
			done = append(done, row.id)
		}
		return done, nil, nil
	}
	for i := range rows {
		err := r.end(ctx, rows[i:i+1])
		if err == nil {
			done = append(done, rows[i].id)
			continue
		}
		late, failed = append(late, rows[i].id), err
		if len(done) == 0 && i > 0 {
			break // the cache is away
		}
	}
	return done, late, failed
}

// end invalidates all that rows name.
func (r *Relay) end(ctx context.Context, rows []row) error {
	var set touched.Set
	for _, row := range rows {
		if err := set.Add(row.on...); err != nil {
			return err
		}
	}
	on := set.Covered()
	if len(on) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, turnTime/4)
	defer cancel()
	held, err := r.config.Holder.Hold(ctx, max(holdTime, r.config.Lag), on...)
	if err == nil && r.config.Lag > 0 {
		return nil // readers of replicas wait for the end of the hold
	}
	// A hold has invalidated. If there is none, its release does.
	if released := held.Release(ctx); err != nil && released != nil {
		return fmt.Errorf("invalidating what rows of the outbox name: %w", released)
	}
	return nil
}

// write changes rows, if there are any.
func (r *Relay) write(ctx context.Context, q querier, query string, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	if _, err := q.ExecContext(ctx, fill(query, ":ids", list(ids))); err != nil {
		return fmt.Errorf("marking rows of the outbox: %w", err)
	}
	return nil
}

func number(n int) string { return strconv.Itoa(n) }
