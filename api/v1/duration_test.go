// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1 "github.com/cachewright/cachewright/api/v1"
)

const (
	longest    = 720 * time.Hour
	longestLag = 10 * time.Minute
	// durationPattern is what a duration must match. Markers cannot refer to a constant, so each
	// field repeats it: TestDurationPattern compares them.
	durationPattern = `^([0-9]{1,4}([.][0-9]{1,3})?h|[0-9]{1,6}([.][0-9]{1,3})?m|[0-9]{1,8}([.][0-9]{1,3})?s|[0-9]{1,11}ms)+$`

	badDuration = "must be a duration from 0s to 720h in h, m, s and whole ms, with a unit and at most 3 decimals, for example 300s, 5m or 1h30m; 0s disables caching"
)

// TestDurationPattern wants the same rule on each field that holds a duration.
func TestDurationPattern(t *testing.T) {
	spec := schemaOf(t, "cachepolicies").Properties["spec"]
	operation := spec.Properties["operations"].Items.Schema
	durations := map[string]apiextensions.JSONSchemaProps{
		"defaultTTL": spec.Properties["defaultTTL"], "sourceLag of the policy": spec.Properties["sourceLag"],
	}
	for name, field := range operation.Properties {
		if field.Type == "string" && field.Format == "" && len(field.XValidations) > 0 && name != "name" {
			durations[name] = field
		}
	}
	if len(durations) != 7 {
		t.Errorf("%d fields hold a duration, want 7", len(durations))
	}
	for name, field := range durations {
		bound := fmt.Sprintf("%.0fh", longest.Hours())
		if strings.HasPrefix(name, "sourceLag") {
			bound = fmt.Sprintf("%.0fm", longestLag.Minutes())
		}
		want := fmt.Sprintf("self.matches('%s') && duration(self) <= duration('%s')", durationPattern, bound)
		if rules := field.XValidations; len(rules) != 1 || rules[0].Rule != want {
			t.Errorf("%s has the rules %v, want %s", name, rules, want)
		}
	}
}

func TestDurationAccepted(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s":           0,
		"0h0m0s":       0,
		"1ms":          time.Millisecond,
		"300s":         5 * time.Minute,
		"5m":           5 * time.Minute,
		"05m":          5 * time.Minute,
		"1h30m":        90 * time.Minute,
		"30m1h":        90 * time.Minute,
		"1.5h":         90 * time.Minute,
		"1.001s":       1001 * time.Millisecond,
		"2h45m30s":     2*time.Hour + 45*time.Minute + 30*time.Second,
		"720h":         longest,
		"720h0m0s":     longest,
		"43200m":       longest,
		"2592000s":     longest,
		"2592000000ms": longest,
	} {
		t.Run(text, func(t *testing.T) {
			spec := fmt.Sprintf(`{module: users, defaultTTL: %q, operations: [{name: list, ttl: %q}]}`, text, text)
			policy := mustCreate(t, policies, spec, &v1.CachePolicy{})
			if got := policy.Spec.DefaultTTL.Duration; got != want {
				t.Errorf("defaultTTL = %v, want %v", got, want)
			}
			if got := policy.Spec.Operations[0].TTL.Duration; got != want {
				t.Errorf("ttl = %v, want %v", got, want)
			}
		})
	}
}

func TestDurationRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty":                    "",
		"no unit":                  "5",
		"zero without unit":        "0",
		"no number":                "m",
		"negative":                 "-5m",
		"negative zero":            "-0s",
		"with a plus":              "+5m",
		"days":                     "1d",
		"weeks":                    "1w",
		"a word":                   "never",
		"a month of 31 days":       "744h",
		"one millisecond too long": "720h1ms",
		"a part that overflows":    "9999999999999h",
		"a sum that overflows":     "9999h9999h9999h9999h9999h9999h",
		"microseconds":             "500us",
		"microseconds by sign":     "500µs",
		"nanoseconds":              "5ns",
		"below a millisecond":      "0.5ms",
		"finer than milliseconds":  "1.0005s",
		"no digit before point":    ".5h",
		"no digit after point":     "1.h",
		"a comma for a point":      "1,5h",
		"an exponent":              "1e3s",
		"digits of other scripts":  "١s",
		"capitals":                 "5M",
		"a space before unit":      "5 m",
		"a space at the end":       "5m ",
		"a line break at the end":  "5m\n",
		"ISO 8601":                 "PT5M",
		"thirty-three characters":  "1h1m1s1ms1h1m1s1ms1h1m1s1ms1h1m1s",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := create(t, policies, fmt.Sprintf(`{module: users, defaultTTL: %s}`, quote(text)))
			wantRefused(t, err, []string{"spec.defaultTTL", refusal(text)})

			_, err = create(t, policies, fmt.Sprintf(`{module: users, operations: [{name: list, ttl: %s}]}`, quote(text)))
			wantRefused(t, err, []string{"spec.operations[0].ttl", refusal(text)})
		})
	}
}

func refusal(text string) string {
	if len(text) > 32 {
		return "may not be more than 32"
	}
	return badDuration
}

func TestDurationOfAnotherType(t *testing.T) {
	for name, spec := range map[string]string{
		"a number":  `{module: users, operations: [{name: list, ttl: 300}]}`,
		"a boolean": `{module: users, operations: [{name: list, ttl: true}]}`,
		"a list":    `{module: users, operations: [{name: list, ttl: [5m]}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := create(t, policies, spec)
			wantRefused(t, err, []string{"spec.operations[0].ttl", "must be of type string"})
		})
	}
}

// The operator decodes what the API server admits. A CachePolicy that the typed client cannot read
// would stop the operator's watch for everybody.
func TestAdmittedDurationsDecode(t *testing.T) {
	anything := rapid.OneOf(
		rapid.StringMatching(`([0-9]{0,12}([.][0-9]{0,5})?(ms|s|m|h|d|us|ns)?){1,3}`),
		rapid.StringMatching(`([0-9]{1,4}([.][0-9]{1,4})?(ms|s|m|h)){1,4}`),
		rapid.StringMatching(`[0-9hms.+eµ -]{0,10}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		text := anything.Draw(t, "duration")
		stored, err := createJSON(policies, fmt.Sprintf(`{"module":"users","defaultTTL":%s}`, quote(text)), "Strict")
		if err != nil {
			wantRefused(t, err, []string{"spec.defaultTTL"})
			return
		}
		var policy v1.CachePolicy
		if err := json.Unmarshal(stored, &policy); err != nil {
			t.Fatalf("%q is admitted, but: %v", text, err)
		}
		forget(t, &policy)
		got := policy.Spec.DefaultTTL.Duration
		if got < 0 || got > longest || got%time.Millisecond != 0 {
			t.Fatalf("%q is admitted as %v", text, got)
		}
	})
}

// A Go program may write every whole number of milliseconds within the bounds.
func TestDurationsOfGoAreAdmitted(t *testing.T) {
	milliseconds := rapid.OneOf(
		rapid.Int64Range(0, longest.Milliseconds()),
		rapid.Int64Range(0, 5000),
		rapid.Map(rapid.Int64Range(0, 720), func(hours int64) int64 { return hours * 3600 * 1000 }),
	)
	rapid.Check(t, func(t *rapid.T) {
		want := time.Duration(milliseconds.Draw(t, "milliseconds")) * time.Millisecond
		policy := &v1.CachePolicy{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: "default"},
			Spec:       v1.CachePolicySpec{Module: "users", DefaultTTL: &metav1.Duration{Duration: want}},
		}
		if err := cluster.Create(context.Background(), policy); err != nil {
			t.Fatalf("%v: %v", want, err)
		}
		forget(t, policy)
		if got := policy.Spec.DefaultTTL.Duration; got != want {
			t.Fatalf("%v became %v", want, got)
		}
	})
}

// A spec stays as written when the operator patches status and finalizers, so that GitOps tools see
// no drift.
func TestDurationIsNotRewritten(t *testing.T) {
	ctx := context.Background()
	policy := mustCreate(t, policies, `{module: users, defaultTTL: 1h, operations: [{name: list, ttl: 5m}, {name: get, ttl: 300s}]}`, &v1.CachePolicy{})

	before := policy.DeepCopy()
	policy.Finalizers = append(policy.Finalizers, v1.CachePolicyFinalizer)
	if err := cluster.Patch(ctx, policy, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	before = policy.DeepCopy()
	policy.Status.ObservedGeneration = policy.Generation
	policy.Status.AppliedRevision = "42"
	if err := cluster.Status().Patch(ctx, policy, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	before = policy.DeepCopy()
	policy.Finalizers = nil
	if err := cluster.Patch(ctx, policy, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}

	stored := &unstructured.Unstructured{}
	stored.SetGroupVersionKind(v1.GroupVersion.WithKind("CachePolicy"))
	if err := cluster.Get(ctx, client.ObjectKeyFromObject(policy), stored); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(stored.Object, "spec", "defaultTTL"); got != "1h" {
		t.Errorf("defaultTTL = %q, want 1h as written", got)
	}
	operations, _, _ := unstructured.NestedSlice(stored.Object, "spec", "operations")
	for i, want := range []string{"5m", "300s"} {
		if got := operations[i].(map[string]any)["ttl"]; got != want {
			t.Errorf("ttl = %q, want %s as written", got, want)
		}
	}
	if stored.GetGeneration() != 1 {
		t.Errorf("generation = %d, want 1: the spec was not touched", stored.GetGeneration())
	}
}

func forget(t rapid.TB, policy *v1.CachePolicy) {
	if err := cluster.Delete(context.Background(), policy); err != nil {
		t.Fatalf("delete %s: %v", policy.Name, err)
	}
}

// quote writes a text as JSON, which is YAML too.
func quote(text string) string {
	quoted, _ := json.Marshal(text) // a string always marshals
	return string(quoted)
}
