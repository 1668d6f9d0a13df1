// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dialect

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cachewright/cachewright/repository/internal/fault"
	"github.com/cachewright/cachewright/repository/internal/settle"
)

// Functions that PostgreSQL has since version 10. Statements have no parameters where that saves a
// round trip.
const (
	// prepareSQL tells the transaction and the life of the server.
	prepareSQL = "SELECT coalesce(txid_current_if_assigned(), 0), " + startSQL + ", "
	startSQL   = "extract(epoch FROM pg_postmaster_start_time())::text"
	limitedSQL = prepareSQL + "set_config('idle_in_transaction_session_timeout', '%d', true)"
	freeSQL    = prepareSQL + "''"
	statusSQL  = "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' " +
		"ELSE coalesce(txid_status(%d), 'forgotten') END, " + startSQL
	standbySQL  = "SELECT pg_is_in_recovery()"
	identitySQL = "SELECT system_identifier::text, " +
		"substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), " +
		"(pg_current_wal_lsn() - '0/0')::bigint FROM pg_control_system()"
)

// unknownTransaction is the SQLSTATE of a transaction whose number was not given out yet.
const unknownTransaction = "22023"

var (
	errStandby   = errors.New("a standby answers, which cannot tell")
	errForgotten = errors.New("PostgreSQL does not know the transaction any more")
	errRestarted = errors.New("PostgreSQL was restarted or failed over meanwhile, and may have " +
		"given the number of the transaction out again")
)

// postgres is PostgreSQL.
type postgres struct{}

// Postgres returns the dialect of PostgreSQL.
func Postgres() Dialect { return postgres{} }

// Fault implements Dialect.
func (postgres) Fault(err error) fault.Fault { return fault.Postgres(err) }

// Learn implements Dialect.
func (postgres) Learn(context.Context, *sql.Conn) error { return nil }

// Prepare implements Dialect.
func (postgres) Prepare(
	ctx context.Context, tx *sql.Tx, idle time.Duration,
) (ticket Ticket, err error) {
	query := freeSQL
	if idle > 0 {
		query = fmt.Sprintf(limitedSQL, idle.Milliseconds())
	}
	var ignored string
	err = tx.QueryRowContext(ctx, query).Scan(&ticket.ID, &ticket.Server, &ignored)
	return ticket, err
}

// Restore has nothing to take back: the limit was one of the transaction.
func (postgres) Restore(_ context.Context, _ *sql.Conn, ticket Ticket) error {
	return discardRefused(ticket)
}

// Ask implements Dialect.
func (p postgres) Ask() func(context.Context, *sql.DB, Ticket) (settle.Outcome, error) {
	return p.ask
}

// ask returns Open as long as there is no answer.
func (p postgres) ask(ctx context.Context, pool *sql.DB, ticket Ticket) (settle.Outcome, error) {
	if ticket.ID == 0 {
		return settle.RolledBack, nil // it changed nothing, so there is nothing to lose
	}
	var status, server string
	query := fmt.Sprintf(statusSQL, ticket.ID)
	err := pool.QueryRowContext(ctx, query).Scan(&status, &server)
	switch {
	case err == nil:
		return outcomeOf(status, server == ticket.Server)
	case fault.StateOf(err) == unknownTransaction:
		return settle.RolledBack, nil // a crash took the number back before it was written anywhere
	case p.Fault(err).Final:
		return settle.Unknown, err
	default:
		return settle.Open, err
	}
}

// outcomeOf reads an answer. A server that crashed gives numbers out again that it had not written,
// and so does one that was a replica. Whatever another transaction of that number did, the one that
// had it before was not committed. But where one is committed, nobody knows which.
func outcomeOf(status string, sameServer bool) (settle.Outcome, error) {
	switch {
	case status == "standby":
		return settle.Open, errStandby
	case status == "aborted", status == "in progress" && !sameServer:
		return settle.RolledBack, nil
	case status == "in progress":
		return settle.Open, nil
	case status == "committed" && sameServer:
		return settle.Committed, nil
	case status == "committed":
		return settle.Unknown, errRestarted
	default:
		return settle.Unknown, errForgotten
	}
}

// Identity returns none of a standby, which may be behind the primary.
func (postgres) Identity(ctx context.Context, conn *sql.Conn) (Identity, error) {
	var standby bool
	err := conn.QueryRowContext(ctx, standbySQL).Scan(&standby)
	if err != nil || standby {
		return Identity{}, err
	}
	var identity Identity
	var timeline string
	err = conn.QueryRowContext(ctx, identitySQL).Scan(&identity.System, &timeline, &identity.Position)
	if err != nil {
		return Identity{}, err
	}
	identity.Timeline, err = strconv.ParseInt(timeline, 16, 64)
	return identity, err
}
