// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package schema says which version the values of an operation have.
package schema

import (
	"errors"
	"fmt"
)

// maxBytes is the length of the longest schema.
const maxBytes = 64

// Operation names an operation of a module or, if Name is empty, all of its operations.
type Operation struct{ Module, Name string }

// Rule gives the values of operations a schema.
type Rule struct {
	Schema string
	// Operations that the rule covers. If there are none, it covers all.
	Operations []Operation
}

// Rules are those of a cache. The first one that covers an operation applies.
type Rules []Rule

// Of returns the schema of an operation, empty for none.
func (r Rules) Of(module, operation string) string {
	for _, rule := range r {
		if rule.covers(module, operation) {
			return rule.Schema
		}
	}
	return ""
}

func (r Rule) covers(module, operation string) bool {
	for _, o := range r.Operations {
		if o.Module == module && (o.Name == "" || o.Name == operation) {
			return true
		}
	}
	return len(r.Operations) == 0
}

// Check returns an error if the schema of a rule cannot be stored, or an operation has no module.
func (r Rules) Check() error {
	for _, rule := range r {
		if err := rule.check(); err != nil {
			return err
		}
	}
	return nil
}

func (r Rule) check() error {
	if !isStorable(r.Schema) {
		return fmt.Errorf("WithSchema: the schema %.70q must have 1 to %d printable ASCII characters "+
			"without spaces", r.Schema, maxBytes)
	}
	for _, o := range r.Operations {
		if o.Module == "" {
			return errors.New("WithSchema: an operation has no module; " +
				"name no operations to cover all of them")
		}
	}
	return nil
}

func isStorable(schema string) bool {
	for i := range len(schema) {
		if schema[i] <= ' ' || schema[i] > '~' {
			return false
		}
	}
	return schema != "" && len(schema) <= maxBytes
}
