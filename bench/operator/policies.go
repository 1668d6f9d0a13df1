// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

func moduleOf(policy int) string { return fmt.Sprintf("module-%d", policy) }

// rollout measures how long many new policies take until all of them are Ready.
func (b *bench) rollout(ctx context.Context) error {
	l := b.lab
	err := spread(b.scale.namespaces, func(n int) error { return l.createNamespace(ctx, b.namespaceOf(n)) })
	if err != nil {
		return err
	}
	began := time.Now()
	err = spread(b.scale.policies, func(n int) error { return l.k8s.Create(ctx, policyFor(b.namespaceOf(n), moduleOf(n))) })
	if err != nil {
		return err
	}
	created := time.Since(began)
	if err := eventually(ctx, "all policies ready", time.Second, func() (bool, error) { return b.allReady(ctx) }); err != nil {
		return err
	}
	b.rows = append(b.rows, row{
		Name: fmt.Sprintf("rollout-%d", b.scale.policies), Seconds: tenths(time.Since(began).Seconds()), CreateSeconds: tenths(created.Seconds()),
	})
	return nil
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

// coldStart measures how long an operator that begins takes until it knows that all policies are in place, and what
// it writes although they are.
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
	all := fmt.Sprintf("%q:%d", "policies", b.scale.policies+1) // and the one of the purges
	err = eventually(ctx, "all policies known to be in place", 5*time.Millisecond, func() (bool, error) {
		select {
		case <-l.operator.Ended():
			return false, errors.New("the operator ended")
		default:
			output := l.operator.Output()
			return strings.Contains(output, "Every policy is in place") && strings.Contains(output, all), nil
		}
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	if err := b.settle(ctx); err != nil {
		return err
	}
	after, err := l.writes(ctx)
	if err != nil {
		return err
	}
	b.rows = append(b.rows, row{
		Name: fmt.Sprintf("cold-start-%d", b.scale.policies), Seconds: hundredths(took.Seconds()), Count: new(after - before),
	})
	return nil
}

// settle waits until the operator has done what there was to do: nothing is written any more, and Redis is asked for no
// more than at rest.
func (b *bench) settle(ctx context.Context) error {
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

// propagation measures the time from kubectl apply, so to speak, until Redis obeys, with all policies in place.
func (b *bench) propagation(ctx context.Context) error {
	var took []time.Duration
	for n := range b.scale.propagations {
		t, err := b.propagateOne(ctx, rand.IntN(b.scale.policies), time.Duration(n+600)*time.Second)
		if err != nil {
			return err
		}
		took = append(took, t)
	}
	b.rows = append(b.rows, row{Name: "policy-propagation", P50Millis: millis(median(took)), P99Millis: millis(percentile(took, 99))})
	return nil
}

func (b *bench) propagateOne(ctx context.Context, policy int, ttl time.Duration) (time.Duration, error) {
	l := b.lab
	object := policyFor(b.namespaceOf(policy), moduleOf(policy))
	if err := l.k8s.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return 0, err
	}
	slots := []registry.Slot{{Namespace: object.Namespace, Module: object.Spec.Module}}
	patch := client.MergeFrom(object.DeepCopy())
	object.Spec.Operations[0].TTL = metav1.Duration{Duration: ttl}
	began := time.Now()
	if err := l.k8s.Patch(ctx, object, patch); err != nil {
		return 0, err
	}
	err := eventually(ctx, "a changed policy in force", 200*time.Microsecond, func() (bool, error) {
		inForce, _, err := l.cache.Policy(ctx, slots[0])
		return inForce.TTL("getById") == ttl, err
	})
	return time.Since(began), err
}

// spread calls fn with 0 to count-1 from all creators, and returns an error if there was one.
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
