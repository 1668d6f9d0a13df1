// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fault

// kindsOfMySQL are the constraints by the numbers of errors. MariaDB has the same, but for checks.
var kindsOfMySQL = map[uint64]Kind{
	1022: Unique, 1062: Unique, 1169: Unique, 1586: Unique, 1859: Unique,
	1216: ForeignKey, 1217: ForeignKey, 1451: ForeignKey, 1452: ForeignKey,
	1761: ForeignKey, 1762: ForeignKey,
	1048: NotNull, 1364: NotNull,
	3819: Check, 4025: Check, // MySQL, MariaDB
}

// MySQL reads errors of MySQL and MariaDB. go-sql-driver/mysql has the number in a field.
func MySQL(err error) Fault {
	number, found := field(err, "MySQLError", "Number")
	if !found {
		return unread(err)
	}
	if kind, known := kindsOfMySQL[number]; known {
		return constraint(kind)
	}
	switch number {
	case 1020, 1213, 1614: // changed since the snapshot, deadlock, deadlock of XA
		return Fault{Class: Conflict, Final: true, Ended: true}
	case 1205, 3572: // lock wait timeout, NOWAIT
		return Fault{Class: Locked, Final: true}
	case 1290, 1792, 1836: // the server or the transaction is read-only
		return Fault{Final: true}
	case 1053, 1927, 4031: // shutdown, killed, idle for too long
		return Fault{Class: Lost}
	default:
		return Fault{} // an error of COMMIT may come from the binary log, after the commit
	}
}
