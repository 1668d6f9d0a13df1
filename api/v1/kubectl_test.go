// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
)

func TestStatusOfFreshObjects(t *testing.T) {
	ctx := context.Background()
	t.Run("created with kubectl", func(t *testing.T) {
		policy := mustCreate(t, policies, `{module: users}`, &v1.CachePolicy{})
		invalidation := mustCreate(t, invalidations, `{targets: [{module: users}]}`, &v1.CacheInvalidation{})
		if policy.Status.ObservedGeneration != -1 || invalidation.Status.ObservedGeneration != -1 {
			t.Errorf("observedGeneration = %d and %d, want -1: tools must not take a fresh object for a finished one",
				policy.Status.ObservedGeneration, invalidation.Status.ObservedGeneration)
		}
	})
	t.Run("created with a typed client", func(t *testing.T) {
		policy := &v1.CachePolicy{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: "default"},
			Spec:       v1.CachePolicySpec{Module: "users"},
		}
		if err := cluster.Create(ctx, policy); err != nil {
			t.Fatal(err)
		}
		defer forget(t, policy)
		if err := cluster.Get(ctx, client.ObjectKeyFromObject(policy), policy); err != nil {
			t.Fatal(err)
		}
		if policy.Status.ObservedGeneration != -1 {
			t.Errorf("observedGeneration = %d, want -1", policy.Status.ObservedGeneration)
		}
	})
	t.Run("created with a status, as a restored backup is", func(t *testing.T) {
		policy := &v1.CachePolicy{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: "default"},
			Spec:       v1.CachePolicySpec{Module: "users"},
			Status:     v1.CachePolicyStatus{ObservedGeneration: 7, AppliedRevision: "42"},
		}
		if err := cluster.Create(ctx, policy); err != nil {
			t.Fatal(err)
		}
		defer forget(t, policy)
		if err := cluster.Get(ctx, client.ObjectKeyFromObject(policy), policy); err != nil {
			t.Fatal(err)
		}
		if policy.Status.ObservedGeneration != -1 || policy.Status.AppliedRevision != "" {
			t.Errorf("status = %+v, want that of a fresh object", policy.Status)
		}
	})
}

func TestKubectlGet(t *testing.T) {
	ctx := context.Background()
	policy := mustCreate(t, policies, `{module: catalogue, storeRef: {name: main}}`, &v1.CachePolicy{})
	policy.Status = v1.CachePolicyStatus{
		ObservedGeneration: 1,
		AppliedRevision:    "r42",
		Conditions:         []metav1.Condition{condition(v1.ConditionReady, v1.ReasonApplied, "the policy is in force")},
		Stats:              &v1.CacheStats{ObservedTime: metav1.Now(), Keys: 1234, MemoryBytes: 567890, HitRatio: "93.1%"},
	}
	if err := cluster.Status().Update(ctx, policy); err != nil {
		t.Fatal(err)
	}
	keys, reclaimed := int64(4321), int64(4000)
	invalidation := mustCreate(t, invalidations, `{targets: [{module: catalogue}], storeRef: {name: main}}`, &v1.CacheInvalidation{})
	invalidation.Status = v1.CacheInvalidationStatus{
		ObservedGeneration: 1,
		State:              v1.StateReclaiming,
		TargetSummary:      "catalogue",
		Duration:           "140ms",
		KeysInvalidated:    &keys,
		KeysReclaimed:      &reclaimed,
		Conditions:         []metav1.Condition{condition(v1.ConditionReady, v1.ReasonReclaiming, "4000 of 4321 reclaimed")},
	}
	if err := cluster.Status().Update(ctx, invalidation); err != nil {
		t.Fatal(err)
	}

	counted := mustCreate(t, invalidations, `{targets: [{module: catalogue}], dryRun: true}`, &v1.CacheInvalidation{})
	counted.Status = v1.CacheInvalidationStatus{State: v1.StateCounted, TargetSummary: "catalogue", KeysInvalidated: &keys}
	if err := cluster.Status().Update(ctx, counted); err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct {
		args    string
		headers string
		row     string
	}{
		{"get cpol " + policy.Name, "NAME MODULE READY REASON KEYS HIT RATIO REVISION AGE", policy.Name + " catalogue True Applied 1234 93.1% r42"},
		{
			"get cachepolicy -o wide " + policy.Name, "NAME MODULE READY REASON KEYS HIT RATIO REVISION AGE STORE MEMORY MESSAGE",
			"main 567890 the policy is in force",
		},
		{"get cinv " + invalidation.Name, "NAME TARGETS KEYS STATE ENDS DURATION AGE", invalidation.Name + " catalogue 4321 Reclaiming 140ms"},
		{
			"get cacheinvalidations -o wide " + invalidation.Name, "NAME TARGETS KEYS STATE ENDS DURATION AGE STORE RECLAIMED DRY RUN REASON MESSAGE",
			"main 4000 false 4000 of 4321 reclaimed",
		},
		{"get cinv " + counted.Name, "NAME TARGETS KEYS STATE ENDS DURATION AGE", counted.Name + " catalogue 4321 Counted"},
		{"get cpol --field-selector spec.module=catalogue", "NAME MODULE", policy.Name},
		{"get cinv --field-selector status.state=Reclaiming", "NAME TARGETS", invalidation.Name},
		{"get cachewright", "NAME", "cachepolicy.cachewright.io/" + policy.Name},
		{"get cachewright", "NAME", "cacheinvalidation.cachewright.io/" + invalidation.Name},
	} {
		got := kubectl(t, strings.Fields(test.args)...)
		if !strings.HasPrefix(got, test.headers) || !strings.Contains(got, test.row) {
			t.Errorf("kubectl %s printed\n%s\nwant headers %q and %q", test.args, got, test.headers, test.row)
		}
	}

	for _, other := range []string{"get cpol --field-selector spec.module=nowhere", "get cinv --field-selector status.state=Failed"} {
		if got := kubectl(t, strings.Fields(other)...); strings.Contains(got, "test-") {
			t.Errorf("kubectl %s printed\n%s\nwant nothing", other, got)
		}
	}
}

func TestKubectlWait(t *testing.T) {
	invalidation := mustCreate(t, invalidations, `{targets: [{module: users}]}`, &v1.CacheInvalidation{})
	invalidation.Status.Conditions = []metav1.Condition{condition(v1.ConditionComplete, v1.ReasonInvalidated, "done")}
	if err := cluster.Status().Update(context.Background(), invalidation); err != nil {
		t.Fatal(err)
	}

	kubectl(t, "wait", "--for=condition=Complete", "--timeout=30s", "cinv/"+invalidation.Name)
}

func TestKubectlExplain(t *testing.T) {
	for path, want := range map[string]string{
		"cpol":                                "CachePolicy declares the TTL (and more) of each operation",
		"cpol.spec.operations.ttl":            "0s to 720h, in h, m, s and ms.",
		"cpol.spec.sourceLag":                 "0s to 10m, in h, m, s and ms. Absent: 0s.",
		"cpol.spec.operations.sourceLag":      "Absent: that of the policy.",
		"cpol.spec.deletionPolicy":            "ENUM: Delete Retain",
		"cinv.spec.targets":                   "Each is one of: {module}, {module, operation}, {userID}",
		"cinv.spec.mode":                      "Default Hard.",
		"cinv.spec.activeDeadlineSeconds":     "1 to 31536000 (a year).",
		"cinv.status.conditions":              "conditions: Complete or Failed when the purge is over",
		"cpol.status.stats.operations.misses": "misses is the number of reads not answered from the cache",
	} {
		if got := kubectl(t, "explain", path); !strings.Contains(got, want) {
			t.Errorf("kubectl explain %s printed\n%s\nwant it to say %q", path, got, want)
		}
	}
}

// kubectl runs kubectl and returns its output, with each run of white space replaced by one space.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := append(append([]string{}, cluster.kubectl...), args...)
	output, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return strings.Join(strings.Fields(string(output)), " ")
}

func condition(kind, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message,
		ObservedGeneration: 1, LastTransitionTime: metav1.Now(),
	}
}

// The status that the operator writes survives the way through the API server.
func TestStatusRoundTrip(t *testing.T) {
	effective := metav1.NewMicroTime(time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC))
	started := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	zero := int64(0)
	invalidation := mustCreate(t, invalidations, `{targets: [{module: users}]}`, &v1.CacheInvalidation{})
	want := v1.CacheInvalidationStatus{
		ObservedGeneration: 1,
		State:              v1.StateComplete,
		StartTime:          &started,
		EffectiveTime:      &effective,
		CompletionTime:     &started,
		Duration:           "2ms",
		TargetSummary:      "users",
		KeysInvalidated:    &zero,
		KeysReclaimed:      &zero,
		Targets:            []v1.TargetResult{{Modules: 0, Message: "no module users in this namespace"}},
	}
	invalidation.Status = want
	if err := cluster.Status().Update(context.Background(), invalidation); err != nil {
		t.Fatal(err)
	}

	got := &v1.CacheInvalidation{}
	if err := cluster.Get(context.Background(), client.ObjectKeyFromObject(invalidation), got); err != nil {
		t.Fatal(err)
	}
	wantJSON, _ := json.Marshal(want)
	gotJSON, _ := json.Marshal(got.Status)
	if string(gotJSON) != string(wantJSON) {
		t.Errorf("status\n%s\nbecame\n%s", wantJSON, gotJSON)
	}
}
