// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package policies

import (
	"fmt"

	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// MaxOwnerBytes bounds the name of an owner.
const MaxOwnerBytes = 512

// Claim names the owner that writes, renews or deletes the policy of a slot. Its fields are those
// of registry.Claim.
type Claim struct {
	keyspace.Slot

	Owner string
	Over  string
}

// arguments of the library's functions.
func (c Claim) arguments() []any {
	if c.Owner == "" {
		return nil
	}
	return []any{c.Owner, c.Over}
}

// ContendedError says that the policy of a slot belongs to another owner. Package registry exports
// and documents it.
type ContendedError struct {
	Slot  keyspace.Slot
	Owner string
}

// Error implements error.
func (e *ContendedError) Error() string {
	return fmt.Sprintf("the policy of %s belongs to another owner, %s", e.Slot, e.Owner)
}

// isOwner says whether a text can name an owner.
func isOwner(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return text != "" && len(text) <= MaxOwnerBytes
}

// contended is the error of a call whose answer is the name of another owner.
func contended(call string, slot keyspace.Slot, owner any) error {
	text, _ := owner.(string)
	if !isOwner(text) {
		return sloterr.Unexpected(call, slot, owner)
	}
	return &ContendedError{Slot: slot, Owner: text}
}
