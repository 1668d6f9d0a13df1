// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"fmt"
	"strings"
)

// A function is called once for each statement, with its rows in tables. It keeps the schemas of
// the session that installs it. It gets the table, the module, and what is covered after an INSERT,
// an UPDATE and a DELETE. Then it gets the most bytes and things of a row: more becomes the module.
const postgresFunction = `CREATE OR REPLACE FUNCTION "cachewright_%[1]s"() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $cachewright$
DECLARE things jsonb := '[]';
BEGIN
	IF coalesce(current_setting('cachewright.tx', true), '') <> '' THEN
		RETURN NULL;
	END IF;
	IF TG_OP = 'TRUNCATE' THEN
		things := '[{"module": "%[2]s"}]';
	ELSIF TG_OP = 'INSERT' THEN
%[3]s	ELSIF TG_OP = 'UPDATE' THEN
%[4]s	ELSE
%[5]s	END IF;
	IF octet_length(things::text) > %[6]d OR jsonb_array_length(things) > %[7]d THEN
		things := '[{"module": "%[2]s"}]';
	END IF;
	IF things <> '[]' THEN
		INSERT INTO cachewright_outbox (covers) VALUES (things::text);
		PERFORM pg_notify('` + Channel + `', '');
	END IF;
	RETURN NULL;
END $cachewright$`

// What of a table is covered. The first argument has its rows. The filter of the aggregate, which
// is computed in any case, keeps long values out: a value of JSON has a bound, too.
const (
	postgresScope = `		IF EXISTS (SELECT FROM %[1]s) THEN
			things := things || '[%[2]s]';
		END IF;
`
	postgresEntry = `		things := things || (SELECT CASE
			WHEN count(*) = 0 THEN '[]'
			WHEN count(*) > %[2]d OR max(octet_length(value::text)) > %[6]d THEN '%[7]s'
			ELSE jsonb_agg(jsonb_build_object('module', '%[3]s', 'operation', '%[4]s',
				'entry', true, 'params', value)) FILTER (WHERE octet_length(value::text) <= %[6]d) END
			FROM (SELECT DISTINCT "%[5]s" AS value FROM %[1]s
				WHERE "%[5]s" IS NOT NULL LIMIT %[2]d + 1) AS named);
`
)

// postgresEvents are the rows of a statement, by its event.
var postgresEvents = []struct{ event, tables, rows string }{
	{"INSERT", "REFERENCING NEW TABLE AS newer", "newer"},
	{
		"UPDATE", "REFERENCING OLD TABLE AS older NEW TABLE AS newer",
		"(SELECT * FROM older UNION ALL SELECT * FROM newer) AS rows_of_both",
	},
	{"DELETE", "REFERENCING OLD TABLE AS older", "older"},
	{"TRUNCATE", "", ""},
}

// postgresTrigger makes a function and a trigger for each event, as only that can have the rows.
func postgresTrigger(w Watched) []string {
	parts := []any{w.Table, w.Module}
	for _, of := range postgresEvents[:3] {
		parts = append(parts, w.postgresCovers(of.rows))
	}
	parts = append(parts, maxWritten, maxThings)
	made := []string{fmt.Sprintf(postgresFunction, parts...)}
	for _, of := range postgresEvents {
		name := "cachewright_" + w.Table + "_" + strings.ToLower(of.event)
		made = append(made,
			fmt.Sprintf("DROP TRIGGER IF EXISTS %q ON %q", name, w.Table),
			fmt.Sprintf("CREATE TRIGGER %q AFTER %s ON %q %s FOR EACH STATEMENT EXECUTE PROCEDURE %q()",
				name, of.event, w.Table, of.tables, "cachewright_"+w.Table))
	}
	return made
}

func (w *Watched) postgresCovers(rows string) string {
	var text strings.Builder
	for _, scope := range w.scopes() {
		fmt.Fprintf(&text, postgresScope, rows, scope.literal())
	}
	for _, e := range w.Entries {
		fmt.Fprintf(&text, postgresEntry, rows, maxNamed, w.Module, e.Operation, e.Column,
			maxNamedBytes, w.scope(e))
	}
	return text.String()
}

// literal is a scope of names that need no escape.
func (t *thing) literal() string {
	if t.Operation == "" {
		return fmt.Sprintf(`{"module": %q}`, t.Module)
	}
	return fmt.Sprintf(`{"module": %q, "operation": %q}`, t.Module, t.Operation)
}
