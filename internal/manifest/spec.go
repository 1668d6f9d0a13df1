// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// The bounds of the CachePolicy.
const (
	maxModule        = 63
	maxName          = 128
	maxRevision      = 128
	maxOperations    = 128
	maxJitterPercent = 50
	maxEntryBytes    = 64 << 20
)

// limit is the longest duration that a field may have, and how the message spells it.
type limit struct {
	most time.Duration
	text string
}

var (
	maxTTL = limit{720 * time.Hour, "720h"}
	maxLag = limit{10 * time.Minute, "10m"}
)

// label is a part of the name of a Kubernetes resource.
const label = `[a-z0-9]([a-z0-9-]*[a-z0-9])?`

var (
	moduleName    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	operationName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._:/-]*[A-Za-z0-9])?$`)
	storeName     = regexp.MustCompile(`^` + label + `([.]` + label + `)*$`)
)

// parseSpec reads the spec of a CachePolicy.
func parseSpec(spec *object) (Policy, error) {
	policy := Policy{Module: spec.name("module", moduleName, maxModule)}
	if ref := spec.child("storeRef"); ref != nil {
		policy.Store = ref.name("name", storeName, 253)
		spec.join(ref)
	}
	policy.Policy.Revision = spec.revision("revision")
	policy.Policy.DefaultTTL = spec.duration("defaultTTL", maxTTL)
	if lag := spec.duration("sourceLag", maxLag); lag != nil {
		policy.Policy.SourceLag = *lag
	}
	spec.flag("suspend")
	spec.oneOf("deletionPolicy", "Delete", "Retain")
	policy.Policy.Operations = parseOperations(spec)
	return policy, spec.end()
}

func parseOperations(spec *object) []registry.OperationPolicy {
	items := spec.items("operations", maxOperations)
	var operations []registry.OperationPolicy
	for _, item := range items {
		operation := parseOperation(item)
		if slices.ContainsFunc(operations, func(o registry.OperationPolicy) bool {
			return o.Name == operation.Name
		}) {
			item.fail("name", fmt.Errorf("%q is listed twice", operation.Name))
		}
		spec.join(item)
		operations = append(operations, operation)
	}
	// As the operator does: the order means nothing.
	slices.SortFunc(operations, func(a, b registry.OperationPolicy) int {
		return cmp.Compare(a.Name, b.Name)
	})
	return operations
}

func parseOperation(item *object) registry.OperationPolicy {
	operation := registry.OperationPolicy{
		Name:          item.name("name", operationName, maxName),
		LocalTTL:      item.duration("localTTL", maxTTL),
		SourceLag:     item.duration("sourceLag", maxLag),
		JitterPercent: int(item.number("jitterPercent", 0, maxJitterPercent)),
		MaxEntryBytes: item.number("maxEntryBytes", 1, maxEntryBytes),
	}
	if ttl := item.duration("ttl", maxTTL); ttl != nil {
		operation.TTL = *ttl
	} else {
		item.fail("ttl", errors.New("is required, for example 5m; 0s disables caching"))
	}
	if stale := item.duration("staleFor", maxTTL); stale != nil {
		operation.StaleFor = *stale
	}
	if negative := item.duration("negativeTTL", maxTTL); negative != nil {
		operation.NegativeTTL = *negative
	}
	if item.oneOf("scope", "Any", "User") == "User" {
		operation.Scope = registry.ScopeUser
	}
	return operation
}
