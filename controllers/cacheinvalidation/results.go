// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	v1 "github.com/cachewright/cachewright/api/v1"
)

// resultsOf returns the recorded results of an invalidation, one for each of its targets.
func resultsOf(invalidation *v1.CacheInvalidation) []v1.TargetResult {
	results := make([]v1.TargetResult, len(invalidation.Spec.Targets))
	copy(results, invalidation.Status.Targets)
	return results
}

// further returns what is known of a target after another attempt. Redis gives its first answer for
// a day only, and another Redis gives another one. So counts stay those of when the target took
// effect, and grow only where it reaches more modules.
func further(recorded, result v1.TargetResult) v1.TargetResult {
	if recorded.Modules >= result.Modules && recorded.Modules > 0 {
		return recorded
	}
	result.KeysInvalidated = max(recorded.KeysInvalidated, result.KeysInvalidated)
	result.KeysPending = max(recorded.KeysPending, result.KeysPending)
	result.Message = recorded.Message // until it is known what to say of this attempt
	return result
}

// isKnown reports whether anything is known of a target.
func isKnown(result v1.TargetResult) bool { return result != v1.TargetResult{} }
