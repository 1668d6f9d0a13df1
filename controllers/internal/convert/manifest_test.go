// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/manifest"
)

// completeSpec has every field of a CachePolicy.
const completeSpec = `{"module":"users","storeRef":{"name":"main"},"defaultTTL":"5m","sourceLag":"2s","revision":"r1","suspend":false,"deletionPolicy":"Delete","operations":[
	{"name":"list","ttl":"1m","staleFor":"1s","negativeTTL":"1s","localTTL":"1s","sourceLag":"1s","jitterPercent":1,"scope":"User","maxEntryBytes":1}]}`

func parsed(t interface {
	Fatalf(format string, args ...any)
}, spec *v1.CachePolicySpec,
) manifest.Policy {
	policy := v1.CachePolicy{TypeMeta: metav1.TypeMeta{APIVersion: v1.GroupVersion.String(), Kind: "CachePolicy"}, Spec: *spec}
	text, err := yaml.Marshal(policy)
	if err != nil {
		t.Fatalf("%v", err)
	}
	found, err := manifest.Parse(text)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", text, found, err)
	}
	return found[0]
}

// Tests of applications read manifests without the packages of Kubernetes. A field that only the
// operator knew would fail them all.
func TestAManifestMayHaveEveryFieldOfAPolicy(t *testing.T) {
	var fields map[string]any
	var spec v1.CachePolicySpec
	if err := json.Unmarshal([]byte(completeSpec), &fields); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(completeSpec), &spec); err != nil {
		t.Fatal(err)
	}
	operation, _ := fields["operations"].([]any)[0].(map[string]any)
	for of, has := range map[reflect.Type]map[string]any{reflect.TypeFor[v1.CachePolicySpec](): fields, reflect.TypeFor[v1.OperationPolicy](): operation} {
		for field := range of.Fields() {
			if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); has[name] == nil {
				t.Errorf("%s: add %s to this test, and read it in internal/manifest", of.Name(), name)
			}
		}
	}
	if got := parsed(t, &spec); got.Policy.Hash() != Policy(&spec).Hash() || got.Store != "main" || got.Module != "users" {
		t.Errorf("got %+v, want %+v", got, Policy(&spec))
	}
}

// The policy that a test of an application gets is the one that the operator puts in force.
func TestAManifestMeansWhatTheOperatorDoes(t *testing.T) {
	duration := rapid.Custom(func(t *rapid.T) metav1.Duration {
		return metav1.Duration{Duration: time.Duration(rapid.Int64Range(0, int64(720*time.Hour/time.Millisecond)).Draw(t, "ms")) * time.Millisecond}
	})
	lag := rapid.Custom(func(t *rapid.T) metav1.Duration {
		return metav1.Duration{Duration: time.Duration(rapid.IntRange(0, 600).Draw(t, "s")) * time.Second}
	})
	operation := rapid.Custom(func(t *rapid.T) v1.OperationPolicy {
		return v1.OperationPolicy{
			Name: rapid.StringMatching(`[A-Za-z0-9]([A-Za-z0-9._:/-]{0,9}[A-Za-z0-9])?`).Draw(t, "name"), TTL: duration.Draw(t, "ttl"),
			StaleFor: rapid.Ptr(duration, true).Draw(t, "staleFor"), NegativeTTL: rapid.Ptr(duration, true).Draw(t, "negativeTTL"),
			LocalTTL: rapid.Ptr(duration, true).Draw(t, "localTTL"), SourceLag: rapid.Ptr(lag, true).Draw(t, "sourceLag"),
			JitterPercent: rapid.Int32Range(0, 50).Draw(t, "jitter"), Scope: rapid.SampledFrom([]v1.OperationScope{"", v1.ScopeAny, v1.ScopeUser}).Draw(t, "scope"),
			MaxEntryBytes: rapid.Ptr(rapid.Int64Range(1, 64<<20), true).Draw(t, "bytes"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		spec := &v1.CachePolicySpec{
			Module: "users", DefaultTTL: rapid.Ptr(duration, true).Draw(t, "defaultTTL"), SourceLag: rapid.Ptr(lag, true).Draw(t, "sourceLag"),
			Revision:   rapid.SampledFrom([]string{"", "42", "true", "a: b", "é"}).Draw(t, "revision"),
			Operations: rapid.SliceOfNDistinct(operation, 0, 8, func(o v1.OperationPolicy) string { return o.Name }).Draw(t, "operations"),
		}
		if got, want := parsed(t, spec).Policy, Policy(spec); got.Hash() != want.Hash() {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}
