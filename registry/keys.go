// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import "strconv"

// The keys that Go reads without the library. cachewright.lua spells all keys; docs/protocol.md
// specifies these, and the conformance vectors hold the two together.

// key names the slot; it is the only key passed to a function.
func (s Slot) key() string { return "cw:{" + s.Namespace + "/" + s.Module + "}" }

// requestKey holds the answer to an invalidation that named a request id.
func (s Slot) requestKey(id string) string { return s.key() + ":r:" + id }

func (s Slot) policyKey() string { return s.key() + ":policy" }

// modulesKey is the set of a namespace's modules that have a policy.
func modulesKey(namespace string) string { return "cw:{" + namespace + "}:modules" }

// readKeys returns the keys whose one MGET answers a read: the entry, then the heads that cover it.
func (k Key) readKeys() []string {
	slot := k.key()
	keys := make([]string, 3, 4)
	keys[0] = k.entryKey(slot)
	keys[1] = slot + ":m"
	keys[2] = slot + ":o:" + k.Operation
	if k.User != "" {
		keys = append(keys, slot+":u:"+k.User)
	}
	return keys
}

// entryKey puts lengths before operation and user, which makes it unambiguous for any bytes.
func (k Key) entryKey(slot string) string {
	const overhead = len(":e:128::256::")
	b := make([]byte, 0, len(slot)+overhead+len(k.Operation)+len(k.User)+len(k.ID))
	b = append(b, slot...)
	b = append(b, ":e:"...)
	b = strconv.AppendInt(b, int64(len(k.Operation)), 10)
	b = append(b, ':')
	b = append(b, k.Operation...)
	b = append(b, ':')
	b = strconv.AppendInt(b, int64(len(k.User)), 10)
	b = append(b, ':')
	b = append(b, k.User...)
	b = append(b, ':')
	b = append(b, k.ID...)
	return string(b)
}
