// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

func (b *bench) namespaceOf(policy int) string {
	return fmt.Sprintf("team-%d", policy%b.scale.namespaces)
}

// storeOf returns the index of a policy's store. The first namespaces have one each, all others use
// the operator's own.
func (b *bench) storeOf(policy int) int {
	if namespace := policy % b.scale.namespaces; namespace < b.scale.stores {
		return 1 + namespace
	}
	return 0
}

// policy returns the policy with a number.
func (b *bench) policy(n int) *v1.CachePolicy {
	policy := policyFor(b.namespaceOf(n), moduleOf(n))
	if b.storeOf(n) > 0 {
		policy.Spec.StoreRef = &v1.StoreReference{Name: ownStore}
	}
	return policy
}

func moduleOf(policy int) string { return fmt.Sprintf("module-%d", policy) }

// rollout measures how long it takes until many new policies are all Ready.
func (b *bench) rollout(ctx context.Context) error {
	l := b.lab
	err := spread(b.scale.namespaces, func(n int) error {
		err := l.createNamespace(ctx, b.namespaceOf(n))
		if store := b.storeOf(n); err == nil && store > 0 {
			err = l.createStore(ctx, b.namespaceOf(n), l.stores[store])
		}
		return err
	})
	if err != nil {
		return err
	}
	began := time.Now()
	err = spread(b.scale.policies, func(n int) error { return l.k8s.Create(ctx, b.policy(n)) })
	if err != nil {
		return err
	}
	created := time.Since(began)
	// Poll Redis, which is cheap and knows most of the answer. Listing ten thousand policies every
	// second would slow the API server.
	if err := eventually(ctx, "all policies in force", time.Second,
		func() (bool, error) { return b.allInForce(ctx) }); err != nil {
		return err
	}
	if err := eventually(ctx, "all policies ready", time.Second,
		func() (bool, error) { return b.allReady(ctx) }); err != nil {
		return err
	}
	seconds := hundredths(time.Since(began).Seconds())
	if err := eventually(ctx, "all modules counted", time.Second,
		func() (bool, error) { return b.allCounted(ctx) }); err != nil {
		return err
	}
	b.rows = append(b.rows, row{
		Name: fmt.Sprintf("rollout-%d", b.scale.policies), Seconds: seconds,
		CreateSeconds: hundredths(created.Seconds()),
	})
	return nil
}

func (b *bench) allInForce(ctx context.Context) (bool, error) {
	slots := make([][]registry.Slot, len(b.lab.stores))
	for n := range b.scale.policies {
		store := b.storeOf(n)
		slots[store] = append(slots[store],
			registry.Slot{Namespace: b.namespaceOf(n), Module: moduleOf(n)})
	}
	for i, store := range b.lab.stores {
		if hashes, err := store.PolicyHashes(ctx, slots[i]); err != nil || slices.Contains(hashes, "") {
			return false, err
		}
	}
	return true, nil
}

func (b *bench) allReady(ctx context.Context) (bool, error) {
	policies := &v1.CachePolicyList{}
	if err := b.lab.k8s.List(ctx, policies); err != nil {
		return false, err
	}
	for i := range policies.Items {
		if policies.Items[i].Status.AppliedHash == "" {
			return false, nil
		}
	}
	return true, nil
}

// allCounted reports whether the status of each store shows all its modules. It shows them with a
// delay, and idle must not measure that write.
func (b *bench) allCounted(ctx context.Context) (bool, error) {
	wanted := map[string]int{}
	for n := range b.scale.policies {
		if b.storeOf(n) > 0 {
			wanted[b.namespaceOf(n)]++
		}
	}
	stores := &v1.CacheStoreList{}
	if err := b.lab.k8s.List(ctx, stores); err != nil {
		return false, err
	}
	for i := range stores.Items {
		if int(stores.Items[i].Status.Modules) != wanted[stores.Items[i].Namespace] {
			return false, nil
		}
	}
	return true, nil
}

// coldStart measures how long a new operator takes until it knows that all policies are in place.
// It also counts the writes, although there is nothing to change.
func (b *bench) coldStart(ctx context.Context) error {
	l := b.lab
	l.operator.Stop()
	before, err := l.writes(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := l.startOperator(); err != nil {
		return err
	}
	all := b.scale.policies + 1 // and the one for purges
	err = eventually(ctx, "all policies known to be in place", 5*time.Millisecond,
		func() (bool, error) {
			select {
			case <-l.operator.Ended():
				return false, errors.New("the operator ended")
			default:
				return policiesInPlace(l.operator.Output()) == all, nil
			}
		})
	if err != nil {
		return err
	}
	took := time.Since(began)
	if err := b.awaitRest(ctx); err != nil {
		return err
	}
	after, err := l.writes(ctx)
	if err != nil {
		return err
	}
	b.rows = append(b.rows, row{
		Name: fmt.Sprintf("cold-start-%d", b.scale.policies), Seconds: hundredths(took.Seconds()),
		Count: new(after - before),
	})
	return nil
}

// policiesInPlace reads from the operator's log how many policies are in place. Each store logs its
// own number.
func policiesInPlace(log string) int {
	inPlace := map[string]int{}
	for line := range strings.Lines(log) {
		var entry struct {
			Msg, At  string
			Policies int
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "Every policy is in place" {
			inPlace[entry.At] = entry.Policies
		}
	}
	total := 0
	for _, policies := range inPlace {
		total += policies
	}
	return total
}

// awaitRest waits until the operator is at rest: nothing is written any more, and Redis receives no
// more calls than usual.
func (b *bench) awaitRest(ctx context.Context) error {
	const span = 3 * time.Second
	writes, calls := -1, -1
	return eventually(ctx, "the operator at rest", span, func() (bool, error) {
		writesNow, err := b.lab.writes(ctx)
		if err != nil {
			return false, err
		}
		callsNow, err := b.lab.redisCalls(ctx)
		quiet := writesNow == writes && callsNow-calls < max(b.scale.policies/2, 100)
		writes, calls = writesNow, callsNow
		return quiet, err
	})
}

// propagation measures the time from a change of a policy until Redis has it, with all policies in
// place.
func (b *bench) propagation(ctx context.Context) error {
	var took []time.Duration
	for n := range b.scale.propagations {
		t, err := b.propagateOne(ctx, rand.IntN(b.scale.policies), time.Duration(n+600)*time.Second)
		if err != nil {
			return err
		}
		took = append(took, t)
	}
	b.rows = append(b.rows,
		row{
			Name: "policy-propagation", P50Millis: millis(median(took)),
			P99Millis: millis(percentile(took, 99)),
		})
	return nil
}

func (b *bench) propagateOne(
	ctx context.Context, policy int, ttl time.Duration,
) (time.Duration, error) {
	l := b.lab
	object := b.policy(policy)
	if err := l.k8s.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return 0, err
	}
	slot, store := registry.Slot{
		Namespace: object.Namespace, Module: object.Spec.Module,
	}, l.stores[b.storeOf(policy)]
	patch := client.MergeFrom(object.DeepCopy())
	object.Spec.Operations[0].TTL = metav1.Duration{Duration: ttl}
	began := time.Now()
	if err := l.k8s.Patch(ctx, object, patch); err != nil {
		return 0, err
	}
	err := eventually(ctx, "a changed policy in force", 200*time.Microsecond, func() (bool, error) {
		inForce, _, err := store.Policy(ctx, slot)
		return inForce.TTL("getById") == ttl, err
	})
	return time.Since(began), err
}

// spread calls fn with 0 to count-1 from several goroutines, and returns one of the errors.
func spread(count int, fn func(i int) error) error {
	errs := make(chan error, creators)
	for worker := range creators {
		go func() {
			var err error
			for i := worker; i < count && err == nil; i += creators {
				err = fn(i)
			}
			errs <- err
		}()
	}
	var first error
	for range creators {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}
