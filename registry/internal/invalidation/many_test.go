// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package invalidation

import "testing"

// Pipelines grow where Redis has little to do for each call, and stay short where it frees entries.
func TestPipelinesOfInvalidationsAreAsLongAsRedisIsQuick(t *testing.T) {
	results := func(keys, pending int64) []Result {
		all := make([]Result, invalidationBatch)
		for i := range all {
			all[i].Keys, all[i].Pending = keys, pending
		}
		return all
	}
	for name, test := range map[string]struct {
		results []Result
		want    int
	}{
		"nothing was there":            {results(0, 0), lightBatch},
		"all is left for later":        {results(10_000, 10_000), lightBatch},
		"each freed a few":             {results(lightCall-1, 0), lightBatch},
		"each freed as many as it may": {results(128, 0), invalidationBatch},
	} {
		if got := nextBatch(test.results); got != test.want {
			t.Errorf("%s: %d; want %d", name, got, test.want)
		}
	}
}
