// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package manifest reads CachePolicies from YAML without the packages of Kubernetes, which tests of
// applications should not need. It accepts what the API server accepts, and the policies are those
// that the operator puts in force; tests compare it with both.
package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/cachewright/cachewright/registry"
)

const (
	group   = "cachewright.io"
	version = group + "/v1"
	kind    = "CachePolicy"
)

// Policy is a CachePolicy.
type Policy struct {
	// Name of the resource; empty: it has a generated one, or kustomize gives it.
	Name   string
	Module string
	// Store is the name of its CacheStore; empty: the operator's own Redis.
	Store  string
	Policy registry.Policy
}

// Parse returns the CachePolicies of a text with any number of YAML documents, in their order. It
// skips other resources, also within a List. An error says which document, resource and field is
// wrong.
func Parse(text []byte) ([]Policy, error) {
	var policies []Policy
	for i, document := range split(text) {
		converted, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		found, err := parseResource(converted)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		policies = append(policies, found...)
	}
	return policies, nil
}

// split returns the documents of a text, without those that are empty.
func split(text []byte) [][]byte {
	var documents [][]byte
	var document []byte
	end := func() {
		if len(bytes.TrimSpace(document)) > 0 {
			documents = append(documents, document)
		}
		document = nil
	}
	for line := range bytes.Lines(text) {
		rest, isMarker := bytes.CutPrefix(line, []byte("---"))
		if isMarker && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")) {
			end()
			line = bytes.TrimLeft(rest, " \t")
		}
		document = append(document, line...)
	}
	end()
	return documents
}

// resource is what all resources have.
type resource struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metadata          `json:"metadata"`
	Items      []json.RawMessage `json:"items"`
	Spec       json.RawMessage   `json:"spec"`
}

type metadata struct {
	Name string `json:"name"`
}

// parseResource returns the policies in a document. One that is no resource has none.
func parseResource(text json.RawMessage) ([]Policy, error) {
	var found resource
	if json.Unmarshal(text, &found) != nil || found.Kind == "" {
		return nil, nil //nolint:nilerr // it may be a file of values
	}
	switch {
	case found.Kind == "List" && found.APIVersion == "v1":
		return parseList(found.Items)
	case found.Kind != kind:
		return nil, nil
	case found.APIVersion != version:
		return nil, fmt.Errorf("%s %s: apiVersion must be %s, not %.100q", kind, found.Metadata.Name,
			version, found.APIVersion)
	}
	policy, err := parseSpec(newObject("spec", found.Spec))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, found.Metadata.Name, err)
	}
	policy.Name = found.Metadata.Name
	return []Policy{policy}, nil
}

func parseList(items []json.RawMessage) ([]Policy, error) {
	var policies []Policy
	for _, item := range items {
		found, err := parseResource(item)
		if err != nil {
			return nil, err
		}
		policies = append(policies, found...)
	}
	return policies, nil
}
