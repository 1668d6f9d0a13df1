// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"fmt"
	"strings"
)

// rowTriggers are what one row of a table was and is, by the event.
var rowTriggers = []struct {
	event string
	rows  []string
}{
	{"INSERT", []string{"NEW"}},
	{"UPDATE", []string{"OLD", "NEW"}},
	{"DELETE", []string{"OLD"}},
}

// mysqlTrigger makes a trigger for each event.
func mysqlTrigger(w Watched) (made []string) {
	for _, of := range rowTriggers {
		name := "cachewright_" + w.Table + "_" + strings.ToLower(of.event)
		made = append(made,
			fmt.Sprintf("DROP TRIGGER IF EXISTS %#q", name),
			fmt.Sprintf("CREATE TRIGGER %#q AFTER %s ON %#q FOR EACH ROW "+
				"INSERT INTO cachewright_outbox (covers) VALUES (%s)",
				name, of.event, w.Table, w.mysqlCovers(of.rows)))
	}
	return made
}

// mysqlCovers merges arrays. That of a NULL is empty.
func (w *Watched) mysqlCovers(rows []string) string {
	arrays := []string{w.scopesJSON()}
	for _, e := range w.Entries {
		for _, row := range rows {
			column := fmt.Sprintf("%s.%#q", row, e.Column)
			arrays = append(arrays, fmt.Sprintf("IF(%[1]s IS NULL, '[]', "+
				"IF(OCTET_LENGTH(%[1]s) > %[4]d, '%[5]s', JSON_ARRAY(JSON_OBJECT("+
				"'module', '%[2]s', 'operation', '%[3]s', 'entry', TRUE, 'params', %[1]s))))",
				column, w.Module, e.Operation, maxNamedBytes, w.scope(e)))
		}
	}
	return "JSON_MERGE_PRESERVE('[]', " + strings.Join(arrays, ", ") + ")"
}

// scopesJSON is a text in SQL.
func (w *Watched) scopesJSON() string {
	var texts []string
	for _, scope := range w.scopes() {
		texts = append(texts, scope.literal())
	}
	return "'[" + strings.Join(texts, ", ") + "]'"
}

// sqliteTrigger makes a trigger for each event, which writes a row for each thing.
func sqliteTrigger(w Watched) (made []string) {
	for _, of := range rowTriggers {
		name := "cachewright_" + w.Table + "_" + strings.ToLower(of.event)
		made = append(made,
			fmt.Sprintf("DROP TRIGGER IF EXISTS %q", name),
			fmt.Sprintf(`CREATE TRIGGER %q AFTER %s ON %q FOR EACH ROW BEGIN %s END`,
				name, of.event, w.Table, w.sqliteInserts(of.rows)))
	}
	return made
}

func (w *Watched) sqliteInserts(rows []string) string {
	var text strings.Builder
	if len(w.scopes()) > 0 {
		fmt.Fprintf(&text, "INSERT INTO cachewright_outbox (covers) VALUES (%s); ", w.scopesJSON())
	}
	for _, e := range w.Entries {
		for _, row := range rows {
			column := fmt.Sprintf("%s.%q", row, e.Column)
			fmt.Fprintf(&text, "INSERT INTO cachewright_outbox (covers) SELECT CASE "+
				"WHEN length(CAST(%[1]s AS BLOB)) > %[4]d THEN '%[5]s' ELSE json_array(json_object("+
				"'module', '%[2]s', 'operation', '%[3]s', 'entry', json('true'), 'params', %[1]s)) END "+
				"WHERE %[1]s IS NOT NULL; ", column, w.Module, e.Operation, maxNamedBytes, w.scope(e))
		}
	}
	return text.String()
}
