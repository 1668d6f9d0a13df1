// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"strings"
	"testing"
)

func ofSchema(key Key, schema string) Key {
	key.Schema = schema
	return key
}

// Readers of two schemas and of none take turns. Each finds only what it stored, by MGET and by the
// library, and gets a token to store its own.
func TestASchemaReadsOnlyItsOwnEntries(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	for _, plain := range []Key{entry("list", "a", ""), entry("list", "a", "u")} {
		for _, schema := range []string{"", "v1", "v2", "v22", "", "v2", strings.Repeat("v", 64)} {
			key := ofSchema(plain, schema)
			if found := lease(t, r, key); found.Hit {
				t.Fatalf("schema %q reads what another one stored: %+v", schema, found)
			}
			fill(t, r, key, "of "+schema)
			for _, reader := range []string{"", "v1", "v2", "v22", strings.Repeat("v", 64)} {
				found, err := r.Read(t.Context(), ofSchema(plain, reader))
				if err != nil || found.Hit != (reader == schema) {
					t.Errorf("schema %q reads the entry of %q: %v (%v)", reader, schema, found.Hit, err)
				}
				if leased := lease(t, r, ofSchema(plain, reader)); leased.Hit != found.Hit || string(leased.Payload) != string(found.Payload) {
					t.Errorf("schema %q leases the entry of %q: %+v, but reads %+v", reader, schema, leased, found)
				}
			}
		}
	}
}

// Whatever schema a deletion or a load is of, they are about the same entry.
func TestADeletionOfAnySchemaFencesTheLoadsOfAll(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	one, two := ofSchema(entry("list", "a", ""), "v1"), ofSchema(entry("list", "a", ""), "v2")
	loading := lease(t, r, two)
	fill(t, r, one, "stored")
	if deleted, err := r.Delete(t.Context(), two); err != nil || !deleted {
		t.Errorf("v2 deletes the entry of v1: %v (%v)", deleted, err)
	}
	if isHit(t, r, one) {
		t.Error("v1 reads what v2 deleted")
	}
	if filled, err := r.Set(t.Context(), two, []byte("old"), loading.Token); err != nil || filled.Outcome != Fenced {
		t.Errorf("a load from before the deletion was %s (%v)", filled.Outcome, err)
	}
}

func TestSchemasThatCannotBeStoredAreRefused(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	token := lease(t, r, entry("list", "a", "")).Token
	for _, schema := range []string{strings.Repeat("v", 65), strings.Repeat("v", 300), "v 2", "vé", "v\n"} {
		key := ofSchema(entry("list", "a", ""), schema)
		if filled, err := r.Set(t.Context(), key, []byte("payload"), token); !errors.Is(err, ErrRejected) {
			t.Errorf("a fill of the schema %.70q was %s (%v)", schema, filled.Outcome, err)
		}
		if _, err := r.Lease(t.Context(), key); !errors.Is(err, ErrRejected) {
			t.Errorf("a lease for the schema %.70q: %v", schema, err)
		}
	}
}
