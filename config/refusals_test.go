// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// TestThePageHasEachRefusal holds the table of the page against the rules of the CRDs.
func TestThePageHasEachRefusal(t *testing.T) {
	page, err := os.ReadFile("../docs/how-to/refusals.md")
	if err != nil {
		t.Fatal(err)
	}
	var messages []string
	files, err := filepath.Glob("crd/bases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensions.CustomResourceDefinition
		if err := yaml.Unmarshal(content, &crd); err != nil {
			t.Fatal(err)
		}
		spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
		messages = append(messages, refusalsOf(&spec)...)
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(string(page), -1)
	for _, message := range messages {
		if !slices.ContainsFunc(rows, func(row []string) bool { return strings.HasPrefix(message, row[1]) }) {
			t.Errorf("no row is about %q", message)
		}
	}
	for _, row := range rows {
		if !slices.ContainsFunc(messages, func(message string) bool { return strings.HasPrefix(message, row[1]) }) {
			t.Errorf("no rule says %q", row[1])
		}
	}
}

// refusalsOf returns the messages of the rules of a schema, and of what is in it.
func refusalsOf(schema *apiextensions.JSONSchemaProps) (messages []string) {
	for _, rule := range schema.XValidations {
		messages = append(messages, rule.Message)
	}
	for _, property := range schema.Properties {
		messages = append(messages, refusalsOf(&property)...)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		messages = append(messages, refusalsOf(schema.Items.Schema)...)
	}
	return messages
}
