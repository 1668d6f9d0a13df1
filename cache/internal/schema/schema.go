// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package schema says which version the values of an operation have.
package schema

import (
	"errors"
	"fmt"

	"github.com/cachewright/cachewright/cache/internal/operations"
)

// maxBytes is the length of the longest schema.
const maxBytes = 64

// Rule gives the values of operations a schema.
type Rule struct {
	Schema string
	// Operations that the rule covers. If there are none, it covers all.
	Operations operations.Set
}

// Rules are those of a cache. The first one that covers an operation applies.
type Rules []Rule

// Of returns the schema of an operation, empty for none.
func (r Rules) Of(module, operation string) string {
	for _, rule := range r {
		if rule.Operations.Covers(operations.Operation{Module: module, Name: operation}) {
			return rule.Schema
		}
	}
	return ""
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
	if r.Operations.LacksModule() {
		return errors.New("WithSchema: an operation has no module; " +
			"name no operations to cover all of them")
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
