// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

// forgetful is a store without any policy, that counts how often it is asked for them.
type forgetful struct {
	*controllertest.ScriptedStore
	asked atomic.Int64
}

func (s *forgetful) PolicyHashes(_ context.Context, slots []registry.Slot) ([]string, error) {
	s.asked.Add(1)
	return make([]string, len(slots)), nil
}

// One sync finds every lost policy, and reads in batches.
func TestOneSyncWakesEveryLostPolicy(t *testing.T) {
	const many = 1000
	store := &forgetful{ScriptedStore: &controllertest.ScriptedStore{Health: controllertest.Healthy("a")}}
	all := controllertest.Crowd{Policies: make([]v1.CachePolicy, many)}
	for i := range all.Policies {
		policy := controllertest.UsersPolicy()
		policy.Namespace, policy.Name, policy.Spec.Module = "shop", fmt.Sprint("m", i), fmt.Sprint("m", i)
		policy.Status.AppliedHash = "h"
		all.Policies[i] = *policy
	}
	enqueuer := make(queue.Enqueuer, many+1)
	syncer := &Syncer{SyncerConfig: SyncerConfig{Referrers: resource.Referrers{Reader: all}, Policies: enqueuer, Log: logr.Discard()}}
	if err := syncer.Sync(t.Context(), Target{Store: store}); err != nil {
		t.Fatal(err)
	}
	if woken := len(enqueuer); woken != many {
		t.Errorf("woke %d policies, want %d", woken, many)
	}
	if asked := int(store.asked.Load()); asked == 0 || asked > many/20 {
		t.Errorf("asked %d times for %d policies, want batches", asked, many)
	}
}

func TestPoliciesAreComparedInBatchesOfAboutTheSameWork(t *testing.T) {
	var policies []*v1.CachePolicy
	for _, operations := range []int{0, 128, 3, 128, 128, 128, 128, 1, 20} {
		policy := controllertest.UsersPolicy()
		policy.Spec.Operations = make([]v1.OperationPolicy, operations)
		policies = append(policies, policy)
	}
	var sizes []int
	seen := 0
	for batch := range hashBatches(policies) {
		sizes = append(sizes, len(batch))
		seen += len(batch)
	}
	if seen != len(policies) || !slices.Equal(sizes, []int{6, 3}) {
		t.Errorf("batches of %v policies, want all %d, at most about %d operations at a time", sizes, len(policies), hashBatchWeight)
	}
	for range hashBatches(nil) {
		t.Error("a batch of nothing")
	}
}

func TestSweepWakesWhatIsInForceOnly(t *testing.T) {
	inForceNow := func(change func(*v1.CachePolicy)) v1.CachePolicy {
		policy := controllertest.UsersPolicy()
		policy.Generation, policy.Status.ObservedGeneration, policy.Status.AppliedHash = 3, 3, "h"
		change(policy)
		return *policy
	}
	tests := []struct {
		name   string
		policy v1.CachePolicy
		want   int
	}{
		{"in force", inForceNow(func(*v1.CachePolicy) {}), 1},
		{"suspended", inForceNow(func(p *v1.CachePolicy) { p.Spec.Suspend = true }), 0},
		{"changed, on its way", inForceNow(func(p *v1.CachePolicy) { p.Generation = 4 }), 0},
		{"another governs", inForceNow(func(p *v1.CachePolicy) { p.Status.AppliedHash = "" }), 0},
		{"refused", inForceNow(func(p *v1.CachePolicy) {
			p.Status.Conditions = []metav1.Condition{{Type: v1.ConditionStalled, Status: metav1.ConditionTrue}}
		}), 0},
		{"being deleted", inForceNow(func(p *v1.CachePolicy) { p.DeletionTimestamp = new(metav1.Now()) }), 0},
	}
	for _, test := range tests {
		if got := len(resource.InForce([]v1.CachePolicy{test.policy})); got != test.want {
			t.Errorf("%s: %d; want %d", test.name, got, test.want)
		}
	}
}

// partly is a store with a primary that answers nothing about policies.
type partly struct {
	*controllertest.ScriptedStore
	err error
}

func (s partly) PolicyHashes(_ context.Context, slots []registry.Slot) ([]string, error) {
	return make([]string, len(slots)), registry.SlotErrors{slots[0]: s.err}
}

func TestAPolicyWhosePrimaryIsAwayIsNotWoken(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want []string
	}{
		"the primary is away":  {registry.ErrUnreachable, []string{"last"}},
		"the key is forbidden": {registry.ErrForbidden, []string{"first", "last"}},
	} {
		t.Run(name, func(t *testing.T) {
			enqueuer := make(queue.Enqueuer)
			syncer := &Syncer{SyncerConfig: SyncerConfig{Policies: enqueuer}}
			policies := []*v1.CachePolicy{controllertest.UsersPolicy(), controllertest.UsersPolicy()}
			for i, name := range []string{"first", "last"} {
				policies[i].Name, policies[i].Spec.Module, policies[i].Status.AppliedHash = name, name, "h"
			}

			synced := make(chan error)
			go func() {
				_, err := syncer.detectDrift(t.Context(), partly{&controllertest.ScriptedStore{}, test.err}, policies)
				synced <- err
			}()
			var woken []string
			for {
				select {
				case e := <-enqueuer:
					woken = append(woken, e.Object.Name.Name)
					continue
				case err := <-synced:
					if err == nil || !slices.Equal(woken, test.want) {
						t.Errorf("woke %q (%v), want %q", woken, err, test.want)
					}
				}
				return
			}
		})
	}
}
