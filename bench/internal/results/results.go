// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package results maintains the results file. Each part of the benchmark writes its own rows.
package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// Part is the result of one program.
type Part struct {
	// Name is the field "part" of each row. If empty, the rows have no such field.
	Name string
	// Members describe the part, such as how and where it was measured. A nil member is removed.
	Members map[string]any
	// Rows of figures. Each is marshalled to an object with a field "name".
	Rows []any
}

const rowsMember = "results"

// Merge writes the part into the file. It replaces the part's former rows and keeps those of
// others.
func (p Part) Merge(path string) error {
	file, err := read(path)
	if err != nil {
		return err
	}
	rows, err := p.rowsBeside(file[rowsMember])
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for name, member := range p.Members {
		if member == nil {
			delete(file, name)
			continue
		}
		if file[name], err = json.Marshal(member); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if file[rowsMember], err = json.Marshal(rows); err != nil {
		return err
	}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // everyone may read it
}

// read returns the members of the file, or none if there is no file yet.
func read(path string) (map[string]json.RawMessage, error) {
	file := map[string]json.RawMessage{}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return file, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s holds no results: %w", path, err)
	}
	return file, nil
}

// rowsBeside returns the other parts' rows of the file, then those of this part.
func (p Part) rowsBeside(before json.RawMessage) ([]json.RawMessage, error) {
	var rows []json.RawMessage
	if before != nil {
		if err := json.Unmarshal(before, &rows); err != nil {
			return nil, fmt.Errorf("reading the rows that are there: %w", err)
		}
	}
	rows = slices.DeleteFunc(rows, func(row json.RawMessage) bool {
		var of struct{ Part string }
		return json.Unmarshal(row, &of) == nil && of.Part == p.Name
	})
	for _, row := range p.Rows {
		text, err := p.mark(row)
		if err != nil {
			return nil, err
		}
		rows = append(rows, text)
	}
	return rows, nil
}

// mark adds the field "part" to a row.
func (p Part) mark(row any) (json.RawMessage, error) {
	text, err := json.Marshal(row)
	if err != nil || p.Name == "" {
		return text, err
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	fields["part"] = p.Name
	return json.Marshal(fields)
}

// Rows makes rows of figures of one kind.
func Rows[T any](figures []T) []any {
	rows := make([]any, len(figures))
	for i, of := range figures {
		rows[i] = of
	}
	return rows
}
