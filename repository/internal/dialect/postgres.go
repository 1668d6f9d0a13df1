// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dialect

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/repository/internal/fault"
	"github.com/cachewright/cachewright/repository/internal/settle"
)

// Functions that PostgreSQL has since version 10. Statements have no parameters where that saves a
// round trip.
const (
	// timelineSQL is the timeline, which a standby does not tell this way.
	timelineSQL = "CASE WHEN pg_is_in_recovery() THEN '' " +
		"ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END"
	noTimelineSQL = "''"
	idSQL         = "coalesce(txid_current_if_assigned(), 0)"
	idleSQL       = "set_config('idle_in_transaction_session_timeout', '%d', true)"
	noIdleSQL     = "''"
	statusSQL     = "SELECT coalesce(txid_status(%d), ''), %s"
	identitySQL   = `SELECT system_identifier::text, timeline_id,
	(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
	ELSE pg_current_wal_lsn() END - '0/0')::numeric::text
	FROM pg_control_system(), pg_control_checkpoint()`
)

var (
	errTooOld   = errors.New("PostgreSQL does not know the transaction any more")
	errTimeline = errors.New("PostgreSQL has another history than the transaction: " +
		"it failed over, or was restored")
)

// postgres is PostgreSQL.
type postgres struct {
	timeline atomic.Pointer[string] // the expression to use; nil: not known yet
}

// Postgres returns the dialect of one PostgreSQL.
func Postgres() Dialect { return &postgres{} }

// Fault implements Dialect.
func (*postgres) Fault(err error) fault.Fault { return fault.Postgres(err) }

// Learn finds out whether the server tells its timeline. Some managed ones do not, and in a
// transaction the refusal would end it.
func (p *postgres) Learn(ctx context.Context, conn *sql.Conn) error {
	if p.timeline.Load() != nil {
		return nil
	}
	var timeline string
	expression := timelineSQL
	err := conn.QueryRowContext(ctx, "SELECT "+timelineSQL).Scan(&timeline)
	if err != nil {
		if p.Fault(err).Class == fault.Lost || ctx.Err() != nil {
			return err
		}
		expression = noTimelineSQL
	}
	p.timeline.Store(&expression)
	return nil
}

// Prepare implements Dialect.
func (p *postgres) Prepare(
	ctx context.Context, tx *sql.Tx, idle time.Duration,
) (ticket Ticket, err error) {
	limit := noIdleSQL
	if idle > 0 {
		limit = fmt.Sprintf(idleSQL, idle.Milliseconds())
	}
	query := fmt.Sprintf("SELECT %s, %s, %s", //nolint:gosec // constants
		idSQL, *p.timeline.Load(), limit)
	var ignored string
	err = tx.QueryRowContext(ctx, query).Scan(&ticket.ID, &ticket.Timeline, &ignored)
	return ticket, err
}

// Restore has nothing to take back: the limit was one of the transaction.
func (*postgres) Restore(_ context.Context, _ *sql.Conn, ticket Ticket) error {
	return discardRefused(ticket)
}

// Ask implements Dialect.
func (p *postgres) Ask() func(context.Context, *sql.DB, Ticket) (settle.Outcome, error) {
	return p.ask
}

// ask returns Open as long as there is no answer.
func (p *postgres) ask(
	ctx context.Context, pool *sql.DB, ticket Ticket,
) (settle.Outcome, error) {
	if ticket.ID == 0 {
		return settle.RolledBack, nil // it changed nothing, so there is nothing to lose
	}
	var status, timeline string
	query := fmt.Sprintf(statusSQL, ticket.ID, *p.timeline.Load()) //nolint:gosec // a number
	if err := pool.QueryRowContext(ctx, query).Scan(&status, &timeline); err != nil {
		if p.Fault(err) == (fault.Fault{Final: true}) {
			return settle.Unknown, err // it has never heard of the transaction, for example
		}
		return settle.Open, err
	}
	if timeline != ticket.Timeline {
		return p.askElsewhere(timeline)
	}
	switch status {
	case "committed":
		return settle.Committed, nil
	case "aborted":
		return settle.RolledBack, nil
	case "in progress":
		return settle.Open, nil
	default:
		return settle.Unknown, errTooOld
	}
}

// askElsewhere is the answer of a server with another timeline. A standby has none: it may become
// the primary, or the primary may come back.
func (*postgres) askElsewhere(timeline string) (settle.Outcome, error) {
	if timeline == "" {
		return settle.Open, errTimeline
	}
	return settle.Unknown, errTimeline
}

// Identity implements Dialect.
func (*postgres) Identity(ctx context.Context, conn *sql.Conn) (Identity, error) {
	var identity Identity
	var position string
	row := conn.QueryRowContext(ctx, identitySQL)
	if err := row.Scan(&identity.System, &identity.Timeline, &position); err != nil {
		return Identity{}, err
	}
	var err error
	identity.Position, err = strconv.ParseUint(position, 10, 64)
	return identity, err
}
