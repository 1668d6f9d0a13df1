// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
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
					t.Errorf("the page of %s does not tell of %s.%s", name, part, field)
				}
			}
		}
	}
	for _, word := range conditionNames(t) {
		if !strings.Contains(policy+invalidation+store, "`"+word+"`") {
			t.Errorf("no page tells of the condition or reason %s", word)
		}
	}
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
