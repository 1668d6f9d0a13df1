// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fault

import "errors"

// kindsOfPostgres are the constraints by their SQLSTATE.
var kindsOfPostgres = map[string]Kind{
	"23505": Unique, "23503": ForeignKey, "23502": NotNull, "23514": Check, "23P01": Exclusion,
}

// StateOf returns the SQLSTATE of an error, if it has one.
func StateOf(err error) string {
	var coded interface{ SQLState() string }
	if !errors.As(err, &coded) || len(coded.SQLState()) != len("00000") {
		return ""
	}
	return coded.SQLState()
}

// Postgres reads errors of PostgreSQL. Both lib/pq and pgx have the SQLSTATE in a method.
func Postgres(err error) Fault {
	state := StateOf(err)
	switch state {
	case "":
		return unread(err)
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return Fault{Class: Conflict, Final: true}
	case "55P03": // lock_not_available
		return Fault{Class: Locked, Final: true}
	case "25P03": // idle_in_transaction_session_timeout: the server ended it before COMMIT came
		return Fault{Class: Lost, Final: true}
	case "40003": // statement_completion_unknown
		return Fault{Class: Lost}
	case "57014": // query_canceled
		return Fault{Final: true}
	}
	switch state[:2] {
	case "23": // integrity constraint violation
		return constraint(kindsOfPostgres[state])
	case "08", "57": // connection exception, operator intervention
		return Fault{Class: Lost}
	case "53", "58", "F0", "XX": // out of resources, system error, internal error
		return Fault{}
	default:
		return Fault{Final: true}
	}
}
