// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// TestSchema checks the house rules of the generated CRDs. Every field is documented for kubectl
// explain, and every text and list has a bound. Descriptions name the bounds and defaults of spec
// fields.
func TestSchema(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(crds, "*.yaml"))
	if err != nil || len(files) != 3 {
		t.Fatalf("found %q (%v), want one file per kind; make manifests generates them", files, err)
	}
	for resource := range kinds {
		for _, part := range []string{"spec", "status"} {
			checkField(t, resource+"."+part, schemaOf(t, resource).Properties[part])
		}
	}
}

// schemaOf returns the generated schema of a resource.
func schemaOf(t *testing.T, resource string) *apiextensions.JSONSchemaProps {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(crds, "cachewright.io_"+resource+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensions.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(content, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

func checkField(t *testing.T, path string, field apiextensions.JSONSchemaProps) {
	t.Helper()
	name := path[strings.LastIndex(path, ".")+1:]
	if !strings.HasPrefix(field.Description, name) {
		t.Errorf("%s: description %q should begin with the field's name", path, field.Description)
	}
	switch field.Type {
	case "string":
		if field.MaxLength == nil && field.Enum == nil && field.Format == "" {
			t.Errorf("%s: a text without maxLength", path)
		}
	case "array":
		if field.MaxItems == nil {
			t.Errorf("%s: a list without maxItems", path)
		}
	case "integer":
		if strings.Contains(path, ".spec.") && (field.Minimum == nil || field.Maximum == nil) {
			t.Errorf("%s: a number without minimum and maximum", path)
		}
	}
	if strings.Contains(path, ".spec.") {
		checkSaid(t, path, field)
	}
	if name == "conditions" {
		return // documented by Kubernetes
	}
	for child, schema := range field.Properties {
		checkField(t, path+"."+child, schema)
	}
	if field.Items != nil {
		for child, schema := range field.Items.Schema.Properties {
			checkField(t, path+"[]."+child, schema)
		}
	}
}

// checkSaid wants the description to name the bounds, the default and the choices.
func checkSaid(t *testing.T, path string, field apiextensions.JSONSchemaProps) {
	t.Helper()
	said := field.Description
	if field.Maximum != nil && !strings.Contains(said, fmt.Sprintf("%.0f to %.0f", *field.Minimum, *field.Maximum)) {
		t.Errorf("%s: description %q does not name the bounds %v to %v", path, said, *field.Minimum, *field.Maximum)
	}
	if field.MaxItems != nil && !strings.Contains(said, fmt.Sprint(*field.MaxItems)) {
		t.Errorf("%s: description %q does not name the most items, %d", path, said, *field.MaxItems)
	}
	if field.Default != nil && !strings.Contains(said, "Default "+strings.Trim(string(field.Default.Raw), `"`)) {
		t.Errorf("%s: description %q does not name the default %s", path, said, field.Default.Raw)
	}
	for _, choice := range field.Enum {
		if !slices.Contains(strings.FieldsFunc(said, isPunctuation), strings.Trim(string(choice.Raw), `"`)) {
			t.Errorf("%s: description %q does not explain %s", path, said, choice.Raw)
		}
	}
}

func isPunctuation(r rune) bool { return strings.ContainsRune(" .:,;\n", r) }
