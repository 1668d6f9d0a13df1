// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import "context"

// Version tells an entry from those that were, or will be, under the same key: by the invalidations that it has
// outlived and the time it was made to last until. Opaque.
type Version string

// Inspect is Read, and tells a hit's version: two with one version and one payload found the same entry, and no
// invalidation covered it between them. (Or it was deleted and stored again as it was, within a millisecond.) It is
// for those who watch an entry.
func (r *Registry) Inspect(ctx context.Context, key Key) (Lookup, Version, error) {
	lookup, value, err := r.read(ctx, key)
	if err != nil || !lookup.Hit {
		return lookup, "", err
	}
	return lookup, Version(value[:len(value)-len(lookup.Payload)]), nil
}
