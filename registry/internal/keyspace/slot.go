// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package keyspace names slots and entries, and spells their keys in Redis.
package keyspace

// Slot is one module of one namespace. Package registry exports and documents it.
type Slot struct {
	Namespace string
	Module    string
}

// String returns "namespace/module". Without a module, it is the namespace.
func (s Slot) String() string {
	if s.Module == "" {
		return s.Namespace
	}
	return s.Namespace + "/" + s.Module
}

// slot makes a Slot, and a struct that embeds one, Located.
func (s Slot) slot() Slot { return s }

// Located is a Slot, or a struct that embeds one.
type Located interface{ slot() Slot }

// SlotOf returns the slot of an item.
func SlotOf(item Located) Slot { return item.slot() }

// Key addresses one entry of a slot. Its fields are those of registry.Key.
type Key struct {
	Slot

	Operation string
	ID        string
	User      string
	Schema    string // of the payload, no part of the address
}
