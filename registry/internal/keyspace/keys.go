// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package keyspace

import (
	"strconv"
	"strings"
)

// The keys that Go reads without the library. The library spells all keys. docs/protocol.md
// specifies these, and the conformance vectors keep the two consistent.

// SlotKey names the slot; it is the only key passed to a function.
func SlotKey(s Slot) string { return "cw:{" + s.Namespace + "/" + s.Module + "}" }

// PolicyKey holds the policy in force.
func PolicyKey(s Slot) string { return SlotKey(s) + ":policy" }

// RequestKey holds the answer to an invalidation that named a request id.
func RequestKey(s Slot, id string) string { return SlotKey(s) + ":r:" + id }

func (s Slot) keyLen() int { return len("cw:{/}") + len(s.Namespace) + len(s.Module) }

func (s Slot) writeKey(b *strings.Builder) {
	b.WriteString("cw:{")
	b.WriteString(s.Namespace)
	b.WriteByte('/')
	b.WriteString(s.Module)
	b.WriteByte('}')
}

// ModulesKey is the set of the modules of a namespace that have a policy.
func ModulesKey(namespace string) string { return "cw:{" + namespace + "}:modules" }

// UnclaimedKey lists the names that applications of a namespace use and no policy lists.
func UnclaimedKey(namespace string) string { return "cw:{" + namespace + "}:unclaimed" }

// AppendReadKeys appends the keys that answer a read in one MGET: the entry, then the heads that
// cover it. They share one string, because the client takes most of the time of a hit.
func AppendReadKeys(keys []string, k Key) []string {
	var b strings.Builder
	b.Grow(4*k.keyLen() + entryKeyOverhead + len(":m:o::u:") + 2*(len(k.Operation)+len(k.User)) +
		len(k.ID))
	k.writeEntryKey(&b)
	entryEnd := b.Len()
	k.writeKey(&b)
	b.WriteString(":m")
	moduleEnd := b.Len()
	k.writeKey(&b)
	b.WriteString(":o:")
	b.WriteString(k.Operation)
	operationEnd := b.Len()
	if k.User != "" {
		k.writeKey(&b)
		b.WriteString(":u:")
		b.WriteString(k.User)
	}
	all := b.String()
	keys = append(keys, all[:entryEnd], all[entryEnd:moduleEnd], all[moduleEnd:operationEnd])
	if k.User != "" {
		keys = append(keys, all[operationEnd:])
	}
	return keys
}

// EntryKey holds an entry.
func EntryKey(k Key) string {
	var b strings.Builder
	b.Grow(k.keyLen() + entryKeyOverhead + len(k.Operation) + len(k.User) + len(k.ID))
	k.writeEntryKey(&b)
	return b.String()
}

// LockKey holds the load lock of an entry, and is named like the entry.
func LockKey(k Key) string {
	slot := SlotKey(k.Slot)
	return slot + ":l:" + strings.TrimPrefix(EntryKey(k), slot+":e:")
}

const entryKeyOverhead = len(":e:128::256::")

// writeEntryKey writes lengths before operation and user, so that the key is unambiguous for any
// bytes.
func (k Key) writeEntryKey(b *strings.Builder) {
	k.writeKey(b)
	b.WriteString(":e:")
	b.WriteString(strconv.Itoa(len(k.Operation)))
	b.WriteByte(':')
	b.WriteString(k.Operation)
	b.WriteByte(':')
	b.WriteString(strconv.Itoa(len(k.User)))
	b.WriteByte(':')
	b.WriteString(k.User)
	b.WriteByte(':')
	b.WriteString(k.ID)
}
