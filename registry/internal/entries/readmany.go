// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"context"

	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/mget"
	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// maxReadKeys is how many read keys an entry has at most.
const maxReadKeys = 4

// ReadMany looks up entries of one slot with one MGET. It passes each to found.
func (e *Entries) ReadMany(
	ctx context.Context, keys []keyspace.Key, found func(i int, lookup parse.Lookup),
) error {
	read := newManyRead(keys)
	if err := e.readTogether(ctx, keys, read.keys, "reading entries"); err != nil {
		return err
	}
	var array [maxReadKeys]string
	for i, key := range keys {
		found(i, lookupOf(key, read.valuesOf(i, array[:0])))
	}
	return nil
}

// ReadManyLocked also says, on a miss, whether another caller holds the load lock of the entry.
func (e *Entries) ReadManyLocked(
	ctx context.Context, keys []keyspace.Key,
) (lookups []parse.Lookup, locked []bool, err error) {
	lookups, locked = make([]parse.Lookup, len(keys)), make([]bool, len(keys))
	read := newManyRead(keys)
	locks := len(read.keys)
	for _, key := range keys {
		read.keys = append(read.keys, keyspace.LockKey(key))
	}
	err = e.readTogether(ctx, keys, read.keys, "reading entries and their load locks")
	if err != nil {
		return nil, nil, err
	}
	var array [maxReadKeys]string
	for i, key := range keys {
		values := read.valuesOf(i, array[:0])
		lookups[i] = lookupOf(key, values)
		locked[i] = isLocked(lookups[i], values, read.keys[locks+i])
	}
	return lookups, locked, nil
}

// readTogether puts the values of read keys in their place.
func (e *Entries) readTogether(
	ctx context.Context, of []keyspace.Key, keys []string, what string,
) error {
	if len(of) == 0 {
		return nil
	}
	if err := inOneSlot(of); err != nil {
		return err
	}
	values, err := mget.Get(ctx, e.library.Client().Process, keys)
	if err != nil {
		return sloterr.Call(what, of[0].Slot, err)
	}
	copy(keys, values)
	return nil
}

// manyRead is a read of entries. It requests each head once, because they share most of them.
type manyRead struct {
	keys   []string // later the values
	covers []*cover // the heads of each entry
}

// cover is the heads that entries of an operation, shared or of one user, have in common.
type cover struct {
	operation, user string
	positions       []int
}

// newManyRead puts the entries first, and then their heads.
func newManyRead(keys []keyspace.Key) *manyRead {
	r := &manyRead{
		keys: make([]string, len(keys), len(keys)+maxReadKeys), covers: make([]*cover, len(keys)),
	}
	type scope struct{ operation, user string }
	covers, heads := map[scope]*cover{}, map[string]int{}
	var last *cover
	for i, key := range keys {
		r.keys[i] = keyspace.EntryKey(key)
		if last == nil || last.operation != key.Operation || last.user != key.User {
			of := scope{key.Operation, key.User}
			if covers[of] == nil {
				covers[of] = r.cover(key, heads)
			}
			last = covers[of]
		}
		r.covers[i] = last
	}
	return r
}

// cover requests the heads of an entry, unless they are requested already.
func (r *manyRead) cover(key keyspace.Key, heads map[string]int) *cover {
	c := &cover{operation: key.Operation, user: key.User}
	var array [maxReadKeys]string
	for _, head := range keyspace.AppendReadKeys(array[:0], key)[1:] {
		position, known := heads[head]
		if !known {
			position = len(r.keys)
			heads[head] = position
			r.keys = append(r.keys, head)
		}
		c.positions = append(c.positions, position)
	}
	return c
}

// valuesOf appends the values of the read keys of one entry, once all are read.
func (r *manyRead) valuesOf(i int, values []string) []string {
	values = append(values, r.keys[i])
	for _, position := range r.covers[i].positions {
		values = append(values, r.keys[position])
	}
	return values
}
