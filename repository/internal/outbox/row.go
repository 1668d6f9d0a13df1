// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package outbox keeps in the database, row by row, what transactions change of what is cached. A
// relay carries the rows to the cache.
package outbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository/internal/touched"
)

// Bounds of a row. What is written stays below half of what is read.
const (
	maxWritten = 128 << 10 // bytes
	maxRead    = 256 << 10
	maxThings  = 4096
	// Those of names are what the cache allows.
	maxModule    = 253
	maxOperation = 128
	maxUser      = 256
)

var errRow = errors.New("a row of the outbox is not one of ours")

// thing is a key or a scope, as a row has it. It is a key if it has an operation and Entry is set.
type thing struct {
	Module    string          `json:"module,omitempty"`
	Operation string          `json:"operation,omitempty"`
	User      []byte          `json:"user,omitempty"` // base64, as it may be any bytes
	Entry     bool            `json:"entry,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
}

// encode writes what a transaction touched. What is too much for a row becomes its modules.
func encode(on []cache.Covered) (string, error) {
	if len(on) <= maxThings {
		text, err := marshal(on)
		if err != nil || len(text) <= maxWritten {
			return text, err
		}
	}
	text, err := marshal(modulesOf(on))
	if err == nil && len(text) > maxWritten {
		return "", fmt.Errorf("a transaction touches modules and users of %d bytes, more than %d; "+
			"touch fewer", len(text), maxWritten)
	}
	return text, err
}

func marshal(on []cache.Covered) (string, error) {
	things := make([]thing, 0, len(on))
	for _, covered := range on {
		t, err := thingOf(covered)
		if err != nil {
			return "", err
		}
		things = append(things, t)
	}
	text, err := json.Marshal(things)
	return string(text), err
}

func thingOf(covered cache.Covered) (thing, error) {
	switch covered := covered.(type) {
	case cache.Key:
		t := thing{
			Module: covered.Module, Operation: covered.Operation, User: []byte(covered.User), Entry: true,
		}
		if covered.Params == nil {
			return t, nil
		}
		var err error
		t.Params, err = json.Marshal(covered.Params)
		return t, err
	case cache.Scope:
		return thing{
			Module: covered.Module, Operation: covered.Operation, User: []byte(covered.User),
		}, nil
	default:
		return thing{}, fmt.Errorf("a row cannot hold a %T", covered)
	}
}

// modulesOf names the modules of all things, and the users that are named without one.
func modulesOf(on []cache.Covered) (coarse []cache.Covered) {
	seen := map[cache.Scope]bool{}
	for _, covered := range on {
		var scope cache.Scope
		switch covered := covered.(type) {
		case cache.Key:
			scope = cache.Scope{Module: covered.Module}
		case cache.Scope:
			scope = cache.Scope{Module: covered.Module}
			if covered.Module == "" {
				scope = covered
			}
		}
		if !seen[scope] {
			seen[scope] = true
			coarse = append(coarse, scope)
		}
	}
	return coarse
}

// decode reads a row, which anyone may have written. The error names nothing of it.
func decode(text string) ([]cache.Covered, error) {
	if len(text) > maxRead {
		return nil, errRow
	}
	var things []thing
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&things); err != nil || len(things) > maxThings || decoder.More() {
		return nil, errRow
	}
	on := make([]cache.Covered, 0, len(things))
	for _, t := range things {
		if !t.valid() {
			return nil, errRow
		}
		on = append(on, t.covered())
	}
	var set touched.Set
	if err := set.Add(on...); err != nil {
		return nil, errRow
	}
	return set.Covered(), nil
}

func (t *thing) valid() bool {
	switch {
	case len(t.User) > maxUser, len(t.Operation) > maxOperation:
		return false
	case t.Module == "":
		return !t.Entry && t.Operation == "" && len(t.User) > 0
	default:
		return isModule(t.Module) && (t.Entry || t.Params == nil) && (!t.Entry || t.Operation != "")
	}
}

// isModule says whether the cache can have a module of a name.
func isModule(name string) bool {
	for _, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return name != "" && len(name) <= maxModule
}

func (t *thing) covered() cache.Covered {
	if !t.Entry {
		return cache.Scope{Module: t.Module, Operation: t.Operation, User: string(t.User)}
	}
	key := cache.Key{Module: t.Module, Operation: t.Operation, User: string(t.User)}
	if t.Params != nil {
		key.Params = t.Params
	}
	return key
}
