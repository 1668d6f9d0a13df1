// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"errors"
)

// Result codes of SQLite: https://www.sqlite.org/rescode.html
const (
	sqliteBusy       = 5
	sqliteLocked     = 6
	sqliteNoMemory   = 7
	sqliteReadOnly   = 8
	sqliteInterrupt  = 9
	sqliteIOError    = 10
	sqliteFull       = 13
	sqliteConstraint = 19
)

// kindsOfSQLite are the constraints by their extended result codes.
var kindsOfSQLite = map[int]Kind{
	2067: Unique, 1555: Unique, 2579: Unique, // unique, primary key, row id
	787: ForeignKey, 1299: NotNull, 275: Check,
}

// SQLite reads errors of SQLite. modernc.org/sqlite has the extended result code in a method,
// mattn/go-sqlite3 in a field.
func SQLite(err error) Fault {
	code, found := sqliteCode(err)
	switch {
	case found:
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Fault{Ended: true} // SQLite undoes all when it interrupts a change
	default:
		return unread(err)
	}
	switch code & 0xff { // the primary result code
	case sqliteBusy, sqliteLocked:
		return Fault{Class: Conflict, Final: true}
	case sqliteConstraint:
		return constraint(kindsOfSQLite[code])
	case sqliteReadOnly:
		return Fault{Final: true}
	case sqliteFull, sqliteInterrupt:
		return Fault{Final: true, Ended: true}
	case sqliteNoMemory, sqliteIOError:
		return Fault{Ended: true}
	default:
		return Fault{}
	}
}

func sqliteCode(err error) (code int, found bool) {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return coded.Code(), true
	}
	number, found := field(err, "Error", "ExtendedCode")
	return int(number & 0xffff), found
}
