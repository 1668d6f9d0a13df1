// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache"
)

type operationKey struct{ module, operation string }

type entryKey struct{ module, operation, id, user string }

// scope is what an invalidation covers: a module, or an operation or a user of it, or an operation
// of a user. With an id it is one entry.
type scope struct{ module, operation, id, user string }

// token says how often each scope that covers an entry was invalidated, hard and softly. If two
// tokens are equal, there was no invalidation in between.
type token struct{ hard, soft marks }

type marks struct{ module, operation, user, operationOfUser, entry int }

// holdID tells holds apart.
type holdID int

type entry struct {
	payload  []byte
	negative bool
	schema   string
	fresh    time.Time // its end
	expires  time.Time
	token    token
}

type counts struct{ hits, misses, heldReads, stale, errors int64 }

func newEntryKey(key cache.Key) (entryKey, error) {
	id, err := cache.ID(key.Params)
	return entryKey{module: key.Module, operation: key.Operation, id: id, user: key.User}, err
}

func marksOf(epochs map[scope]int, key entryKey) marks {
	m := marks{
		module:    epochs[scope{module: key.module}],
		operation: epochs[scope{module: key.module, operation: key.operation}],
		entry:     epochs[scope(key)],
	}
	if key.user != "" {
		m.user = epochs[scope{module: key.module, user: key.user}]
		m.operationOfUser = epochs[scope{module: key.module, operation: key.operation, user: key.user}]
	}
	return m
}

type flightKey struct {
	entryKey

	schema string
	token  token
}

type loaded struct {
	value   any
	payload []byte
	shared  bool
	// storedNegative says, beside cache.ErrNotFound, that the cache stored it.
	storedNegative bool
}

func refusal(key entryKey, reason string) error {
	return fmt.Errorf("%w: an entry of %s, operation %s: %s", cache.ErrRefused, key.module,
		key.operation, reason)
}
