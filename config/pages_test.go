// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// TestPagesAreComplete wants each kind's page to name every field, and the pages together every
// condition and reason.
func TestPagesAreComplete(t *testing.T) {
	policy, invalidation, store := page(t, "../docs/cachepolicy.md"), page(t, "../docs/cacheinvalidation.md"), page(t, "../docs/cachestore.md")
	for name, text := range map[string]string{
		"cachepolicies.cachewright.io":      policy,
		"cacheinvalidations.cachewright.io": invalidation,
		"cachestores.cachewright.io":        store,
	} {
		var crd apiextensions.CustomResourceDefinition
		if err := cluster.Get(context.Background(), client.ObjectKey{Name: name}, &crd); err != nil {
			t.Fatal(err)
		}
		root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
		for _, part := range []string{"spec", "status"} {
			for _, field := range fields(root.Properties[part]) {
				if !strings.Contains(text, "`"+field) && !strings.Contains(text, "."+field+"`") {
					t.Errorf("the page of %s does not name %s.%s", name, part, field)
				}
			}
		}
	}
	for _, word := range conditionNames(t) {
		if !strings.Contains(policy+invalidation+store, "`"+word+"`") {
			t.Errorf("no page names the condition or reason %s", word)
		}
	}
}

// TestPagesSayWhatToDo wants a meaning and a remedy for each condition, reason and event, on each
// kind's page.
func TestPagesSayWhatToDo(t *testing.T) {
	for _, name := range []string{"cachepolicy.md", "cacheinvalidation.md", "cachestore.md"} {
		listed := tables(page(t, "../docs/"+name))
		for _, what := range []string{"condition", "reason", "event"} {
			rows := listed[what]
			if len(rows) < 2 {
				t.Errorf("%s has no table of each %s", name, what)
				continue
			}
			columns := strings.Join(rows[0], " | ")
			if !strings.Contains(columns, "mean") || rows[0][len(rows[0])-1] != "what to do" {
				t.Errorf("%s: the table of each %s has the columns %q, want what it means and, last, what to do", name, what, columns)
			}
			for _, row := range rows {
				if len(row) != len(rows[0]) || slices.Contains(row, "") {
					t.Errorf("%s: an empty cell, or one too few: %q", name, row)
				}
			}
		}
	}
}

// tables returns the rows of a page's tables, headings first, by the heading of the first column.
func tables(text string) map[string][][]string {
	found := map[string][][]string{}
	heading := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			heading = ""
			continue
		}
		var row []string
		for _, cell := range strings.Split(strings.Trim(line, "|"), "|") {
			row = append(row, strings.TrimSpace(cell))
		}
		if heading == "" {
			heading = row[0]
		}
		if strings.Trim(line, "|-: ") != "" {
			found[heading] = append(found[heading], row)
		}
	}
	return found
}

func page(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// fields returns the names of all properties, at any depth; those of a condition are Kubernetes'.
func fields(schema apiextensions.JSONSchemaProps) []string {
	var names []string
	for name, property := range schema.Properties {
		names = append(names, name)
		if name != "conditions" {
			names = append(names, fields(property)...)
		}
	}
	if schema.Items != nil {
		names = append(names, fields(*schema.Items.Schema)...)
	}
	return names
}

// conditionNames reads the values of the constants in api/v1/conditions.go.
func conditionNames(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../api/v1/conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(file, func(node ast.Node) bool {
		literal, ok := node.(*ast.BasicLit)
		if ok && literal.Kind == token.STRING {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, value)
		}
		return true
	})
	if len(names) == 0 {
		t.Fatal("no constants found in api/v1/conditions.go")
	}
	return names
}
