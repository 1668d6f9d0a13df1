// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"encoding/json"
	"fmt"
	"testing"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// JSON has many spellings of a number, and null for anything. What the API server admits must
// decode into the Go types of the operator.
func TestAdmittedNumbersDecode(t *testing.T) {
	spellings := []string{
		`1`, `1.0`, `10e0`, `1E1`, `-0`, `0`, `null`, `1.5`, `-1`, `1e3`, `1e9`, `1e30`, `2147483648`, `9223372036854775808`, `"1"`, `"1m"`, `true`,
	}
	for _, field := range []struct {
		resource, spec string
		decoded        func() any
	}{
		{policies, `{"module":"users","operations":[{"name":"list","ttl":"1m","jitterPercent":%s}]}`, func() any { return &v1.CachePolicy{} }},
		{policies, `{"module":"users","operations":[{"name":"list","ttl":"1m","maxEntryBytes":%s}]}`, func() any { return &v1.CachePolicy{} }},
		{policies, `{"module":"users","operations":[{"name":"list","ttl":%s}]}`, func() any { return &v1.CachePolicy{} }},
		{policies, `{"module":"users","defaultTTL":%s}`, func() any { return &v1.CachePolicy{} }},
		{policies, `{"module":"users","revision":%s}`, func() any { return &v1.CachePolicy{} }},
		{policies, `{"module":"users","operations":%s}`, func() any { return &v1.CachePolicy{} }},
		{invalidations, `{"targets":[{"module":"users"}],"ttlSecondsAfterFinished":%s}`, func() any { return &v1.CacheInvalidation{} }},
		{invalidations, `{"targets":[{"module":"users"}],"activeDeadlineSeconds":%s}`, func() any { return &v1.CacheInvalidation{} }},
		{invalidations, `{"targets":[{"module":"users"}],"dryRun":%s}`, func() any { return &v1.CacheInvalidation{} }},
		{invalidations, `{"targets":[{"module":"users","userID":%s}]}`, func() any { return &v1.CacheInvalidation{} }},
	} {
		admitted := 0
		for _, spelling := range spellings {
			spec := fmt.Sprintf(field.spec, spelling)
			stored, err := createJSON(field.resource, spec, "Strict")
			if err != nil {
				wantRefused(t, err, []string{"spec"})
				continue
			}
			admitted++
			if err := json.Unmarshal(stored, field.decoded()); err != nil {
				t.Errorf("%s is admitted, but: %v", spec, err)
			}
		}
		if admitted == 0 {
			t.Errorf("%s: every spelling is refused, so this tries nothing", field.spec)
		}
	}
}
