// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	v1 "github.com/cachewright/cachewright/api/v1"
)

func TestTheSamePolicyGovernsInWhateverOrderTheyAreListed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policies := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) v1.CachePolicy {
			policy := v1.CachePolicy{ObjectMeta: metav1.ObjectMeta{
				Name:              rapid.StringMatching("[a-c]{1,2}").Draw(t, "name"),
				CreationTimestamp: metav1.Unix(int64(rapid.IntRange(0, 3).Draw(t, "created")), 0),
			}}
			if rapid.Bool().Draw(t, "deleting") {
				policy.DeletionTimestamp = &metav1.Time{}
				*policy.DeletionTimestamp = metav1.Unix(9, 0)
			}
			return policy
		}), 0, 6, func(p v1.CachePolicy) string { return p.Name }).Draw(t, "policies")

		governing := Governing(policies)
		shuffled := rapid.Permutation(policies).Draw(t, "shuffled")
		again := Governing(shuffled)

		if (governing == nil) != (again == nil) || governing != nil && governing.Name != again.Name {
			t.Fatalf("%v governs, and then %v", governing, again)
		}
		for _, p := range policies {
			if p.DeletionTimestamp == nil && (governing == nil || p.CreationTimestamp.Before(&governing.CreationTimestamp)) {
				t.Fatalf("%s is older than the governing", p.Name)
			}
		}
		if governing != nil && governing.DeletionTimestamp != nil {
			t.Fatal("a policy that is being deleted governs")
		}
	})
}
