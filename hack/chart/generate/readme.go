// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// valuesHeading begins the part of the README that is generated. It is the last one.
const valuesHeading = "## Values\n"

var (
	errNoHeading = errors.New("README.md has no heading Values")
	errNoComment = errors.New("values.yaml must say above it what it means")
)

// writeReadme writes the table of values into the README of the chart.
func writeReadme(root string) error {
	values, err := os.ReadFile(filepath.Join(root, chart, "values.yaml"))
	if err != nil {
		return fmt.Errorf("reading the values: %w", err)
	}
	rows, err := rowsOf(values)
	if err != nil {
		return err
	}
	path := filepath.Join(root, chart, "README.md")
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	before, _, found := strings.Cut(string(page), valuesHeading)
	if !found {
		return errNoHeading
	}
	text := before + valuesHeading + "\n" + table(rows)
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // a page is for everyone
}

// row describes a value of the chart.
type row struct{ name, byDefault, meaning string }

func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| value | default | meaning |\n|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", r.name, r.byDefault, r.meaning)
	}
	return b.String()
}

// rowsOf describes the values of a file in their order.
func rowsOf(values []byte) ([]row, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(values, &document); err != nil {
		return nil, fmt.Errorf("reading the values: %w", err)
	}
	return describe("", document.Content[0])
}

// describe returns the rows of the values in a mapping. A mapping whose own keys say nothing is one
// value.
func describe(prefix string, mapping *yaml.Node) (rows []row, err error) {
	for i := 0; i < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name := prefix + key.Value
		var more []row
		if isSection(value) {
			more, err = describe(name+".", value)
		} else {
			more, err = one(name, comment(key), value)
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func isSection(value *yaml.Node) bool {
	if value.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i < len(value.Content); i += 2 {
		if value.Content[i].HeadComment != "" || isSection(value.Content[i+1]) {
			return true
		}
	}
	return false
}

func one(name, meaning string, value *yaml.Node) ([]row, error) {
	if meaning == "" {
		return nil, fmt.Errorf("value %s: %w", name, errNoComment)
	}
	var of any
	if err := value.Decode(&of); err != nil {
		return nil, fmt.Errorf("reading value %s: %w", name, err)
	}
	text, err := json.Marshal(of)
	if err != nil {
		return nil, fmt.Errorf("showing value %s: %w", name, err)
	}
	return []row{{name: name, byDefault: string(text), meaning: meaning}}, nil
}

// comment returns the paragraph right above a key, as one line.
func comment(key *yaml.Node) string {
	_, last, found := cutLast(key.HeadComment, "\n\n")
	if !found {
		last = key.HeadComment
	}
	var words []string
	for line := range strings.Lines(last) {
		words = append(words, strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "#"))...)
	}
	return strings.Join(words, " ")
}

func cutLast(text, separator string) (before, after string, found bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(separator):], true
}
