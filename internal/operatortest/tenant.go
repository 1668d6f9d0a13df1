// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package operatortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

const (
	// timeout limits each wait. It is long, because the machine may be busy.
	timeout = 5 * time.Minute
	// pollInterval is the interval of polling whether a policy is in force.
	pollInterval = time.Millisecond

	tenantModule, tenantOperation = "items", "list"
)

// Tenant is a namespace that uses the operator's own store. Its invalidations and policy changes
// are timed.
type Tenant struct {
	k8s       client.WithWatch
	namespace string
	store     *registry.Registry
	asked     int
}

// Latencies are the durations of invalidations and of policy changes. An invalidation takes from
// its creation until a watch sees it Complete, a change from the patch until Redis has it.
type Latencies struct{ Invalidations, Policies []time.Duration }

// Percentile returns the duration that the given percentage of the durations does not exceed.
func Percentile(took []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

// NewTenant creates a namespace with a policy, and returns when the policy is in force.
func NewTenant(
	ctx context.Context, k8s client.WithWatch, namespace string, store *registry.Registry,
) (*Tenant, error) {
	t := &Tenant{k8s: k8s, namespace: namespace, store: store}
	if err := k8s.Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return nil, err
	}
	policy := t.policy()
	if err := k8s.Create(ctx, policy); err != nil {
		return nil, err
	}
	err := t.inForce(ctx, policy.Spec.Operations[0].TTL.Duration)
	return t, err
}

func (t *Tenant) policy() *v1.CachePolicy {
	return &v1.CachePolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: t.namespace, Name: tenantModule},
		Spec: v1.CachePolicySpec{
			Module: tenantModule,
			Operations: []v1.OperationPolicy{
				{Name: tenantOperation, TTL: metav1.Duration{Duration: time.Minute}},
			},
		},
	}
}

// Measure times count invalidations and as many policy changes, in turns, one at a time.
func (t *Tenant) Measure(ctx context.Context, count int) (took Latencies, err error) {
	for range count {
		t.asked++
		invalidation, err := t.invalidate(ctx)
		if err != nil {
			return took, fmt.Errorf("invalidation %d: %w", t.asked, err)
		}
		change, err := t.change(ctx, time.Duration(60+t.asked)*time.Second)
		if err != nil {
			return took, fmt.Errorf("change %d of the policy: %w", t.asked, err)
		}
		took.Invalidations = append(took.Invalidations, invalidation)
		took.Policies = append(took.Policies, change)
	}
	return took, nil
}

func (t *Tenant) invalidate(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	events, err := t.k8s.Watch(ctx, &v1.CacheInvalidationList{}, client.InNamespace(t.namespace))
	if err != nil {
		return 0, err
	}
	defer events.Stop()
	invalidation := &v1.CacheInvalidation{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: t.namespace, Name: fmt.Sprint("invalidation-", t.asked),
		},
		Spec: v1.CacheInvalidationSpec{
			Targets: []v1.InvalidationTarget{{Module: tenantModule, Operation: tenantOperation}},
		},
	}
	began := time.Now()
	if err := t.k8s.Create(ctx, invalidation); err != nil {
		return 0, err
	}
	for {
		select {
		case event, open := <-events.ResultChan():
			if !open {
				return 0, errors.New("the watch ended")
			}
			seen, ok := event.Object.(*v1.CacheInvalidation)
			if ok && event.Type != watch.Deleted && seen.Name == invalidation.Name &&
				seen.Status.State == v1.StateComplete {
				took := time.Since(began)
				return took, t.k8s.Delete(ctx, invalidation)
			}
		case <-ctx.Done():
			return 0, fmt.Errorf("not Complete: %w", context.Cause(ctx))
		}
	}
}

func (t *Tenant) change(ctx context.Context, ttl time.Duration) (time.Duration, error) {
	policy := t.policy()
	policy.Spec.Operations[0].TTL.Duration = ttl
	patch := fmt.Appendf(nil, `{"spec":{"operations":[{"name":%q,"ttl":%q}]}}`, tenantOperation, ttl)
	began := time.Now()
	if err := t.k8s.Patch(ctx, policy, client.RawPatch("application/merge-patch+json",
		patch)); err != nil {
		return 0, err
	}
	err := t.inForce(ctx, ttl)
	return time.Since(began), err
}

func (t *Tenant) inForce(ctx context.Context, ttl time.Duration) error {
	return eventually(ctx, pollInterval, func(ctx context.Context) error {
		policy, _, err := t.store.Policy(ctx, registry.Slot{Namespace: t.namespace, Module: tenantModule})
		if err == nil && policy.TTL(tenantOperation) != ttl {
			err = errors.New("the policy is not in force")
		}
		return err
	})
}

// eventually retries until there is no error.
func eventually(
	ctx context.Context, interval time.Duration, try func(context.Context) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
