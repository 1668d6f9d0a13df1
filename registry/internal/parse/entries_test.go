// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"testing"

	"github.com/cachewright/cachewright/registry/internal/bounds"
)

func TestTimesThatCannotBeAreBounded(t *testing.T) {
	for _, ms := range []int64{-1, 1 << 62, 9223372036854775807} {
		for _, reply := range [][]any{{replyMiss, "token", ms}, {replyHit, "payload", ms, int64(0)}} {
			lookup, ok := LookupOf(reply)
			if !ok || lookup.Wait < 0 || lookup.Wait > 2*bounds.MaxTTL || lookup.Remaining < 0 || lookup.Remaining > 2*bounds.MaxTTL {
				t.Errorf("%v: %v", reply, lookup)
			}
		}
	}
}
