// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// MaxUnclaimed is the number of unclaimed names that Redis keeps for a namespace.
const MaxUnclaimed = parse.MaxUnclaimed

// Unclaimed is a name that applications use and no policy lists, so nothing is cached under it.
type Unclaimed struct {
	// Module without a policy, or with a policy that does not list the Operation.
	Module string
	// Operation is empty if the module has no policy.
	Operation string
	// Reads and Invalidations since the name was first reported, 0 to 999,999,999,999,999.
	Reads         int64
	Invalidations int64
	// Age is how long ago the name was last reported: up to a day. ReportUnclaimed ignores it.
	Age time.Duration
}

// ReportUnclaimed adds to the counts of names that a client used and no policy lists. Redis keeps
// each name for a day after its last report, at most MaxUnclaimed for a namespace. Beyond that,
// those that were reported least recently go. It omits names that no CachePolicy could have, and
// all but the first MaxUnclaimed of the others. ErrUnauthorized: the user's ACL lacks the key
// cw:{<namespace>}:unclaimed.
func (r *Registry) ReportUnclaimed(ctx context.Context, namespace string, names []Unclaimed) error {
	reported := make([]parse.Unclaimed, len(names))
	for i, name := range names {
		reported[i] = parse.Unclaimed(name)
	}
	return r.unclaimed.Report(ctx, namespace, reported)
}

// Unclaimed returns the names that were reported in the last day, sorted by module and operation.
// A name stays for a day when a policy lists it meanwhile.
func (r *Registry) Unclaimed(ctx context.Context, namespace string) ([]Unclaimed, error) {
	all, err := r.UnclaimedOf(ctx, []string{namespace})
	var ofNamespace SlotErrors
	switch {
	case errors.As(err, &ofNamespace):
		return nil, sloterr.First(ofNamespace)
	case err != nil:
		return nil, err
	default:
		return all[0], nil
	}
}

// UnclaimedOf does what Unclaimed does for many namespaces, in their order, in a round trip per 20
// of them (and node of a cluster). SlotErrors are of namespaces that failed, as slots without a
// module.
func (r *Registry) UnclaimedOf(ctx context.Context, namespaces []string) ([][]Unclaimed, error) {
	found, err := r.unclaimed.Of(ctx, namespaces)
	if found == nil {
		return nil, err
	}
	all := make([][]Unclaimed, len(found))
	for i, names := range found {
		for _, name := range names {
			all[i] = append(all[i], Unclaimed(name))
		}
	}
	return all, err
}
