// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"errors"
	"fmt"
	"regexp"
)

// A trigger names values one by one within bounds. More of them, or a longer one, become the
// operation: the relay reads no row that is too large.
const (
	maxNamed      = 256
	maxNamedBytes = 1024
)

// Watched is repository.Watched.
type Watched struct {
	// Table is its name as the database has it.
	Table string
	// Module of the cache that holds what the table has.
	Module string
	// Entries are the operations whose params are the value of a column.
	Entries []Entry
	// Operations are those whose entries all end with a change.
	Operations []string
}

// Entry is repository.WatchedEntry.
type Entry struct{ Operation, Column string }

// Names are what needs no escape in SQL. The database has at most 63 bytes for that of a trigger.
var (
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,39}$`)
	operation  = regexp.MustCompile(`^[A-Za-z0-9._:/-]{1,128}$`)
)

// Trigger returns the statements that make the triggers of a table.
func (s *SQL) Trigger(w Watched) ([]string, error) {
	if !identifier.MatchString(w.Table) {
		return nil, errors.New("the name of the table has up to 40 letters, digits and underscores")
	}
	if !isModule(w.Module) {
		return nil, fmt.Errorf("table %s: its module is none that the cache can have", w.Table)
	}
	for _, entry := range w.Entries {
		if !identifier.MatchString(entry.Column) || !operation.MatchString(entry.Operation) {
			return nil, fmt.Errorf("table %s: an entry needs a column, of up to 40 letters, digits and "+
				"underscores, and an operation of letters, digits and ._:/-", w.Table)
		}
	}
	for _, name := range w.Operations {
		if !operation.MatchString(name) {
			return nil, fmt.Errorf("table %s: operations have letters, digits and ._:/-", w.Table)
		}
	}
	return s.trigger(w), nil
}

// scope is the operation of an entry.
func (w *Watched) scope(e Entry) string {
	return "[" + (&thing{Module: w.Module, Operation: e.Operation}).literal() + "]"
}

// scopes are what any change of the table ends: operations, or the module if nothing is named.
func (w *Watched) scopes() (all []thing) {
	for _, name := range w.Operations {
		all = append(all, thing{Module: w.Module, Operation: name})
	}
	if len(w.Operations)+len(w.Entries) == 0 {
		all = append(all, thing{Module: w.Module})
	}
	return all
}
