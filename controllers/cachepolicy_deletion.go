// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// hold keeps a policy from going before it is withdrawn. It is called before the first write to the store: a policy of which
// nothing was ever written needs nobody to be deleted.
func (r *CachePolicyReconciler) hold(ctx context.Context, patch *patcher, policy *v1.CachePolicy) error {
	if policy.Spec.DeletionPolicy == v1.DeletionRetain {
		return nil
	}
	return patch.finalizer(ctx, policy, v1.CachePolicyFinalizer, true)
}

// releaseRetained lets a policy go at once whose deletion changes nothing in the store.
func (r *CachePolicyReconciler) releaseRetained(ctx context.Context, patch *patcher, policy *v1.CachePolicy) error {
	if policy.Spec.DeletionPolicy != v1.DeletionRetain {
		return nil
	}
	return patch.finalizer(ctx, policy, v1.CachePolicyFinalizer, false)
}

// withdraw takes a deleted policy out of the store and lets the resource go. A store that stays
// unreachable delays that for WithdrawTimeout at most.
func (r *CachePolicyReconciler) withdraw(
	ctx context.Context, patch *patcher, policy *v1.CachePolicy, store *Session, found *policyFindings,
) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(policy, v1.CachePolicyFinalizer) {
		found.gone = true
		return reconcile.Result{}, nil
	}
	found.deleting = true
	farewell, pending, err := r.withdrawFromStore(ctx, policy, store)
	if f := faultOf(err, store.place); f != nil {
		hopeless, unknown := r.isHopeless(ctx, policy, err)
		if unknown != nil || !f.ofStore() || !hopeless && !r.outOfPatience(policy) {
			return reconcile.Result{}, cmp.Or(unknown, err)
		}
		farewell = abandoned(policy, f)
	} else if pending > 0 && !r.outOfTime(policy) {
		return inBackground(soon), nil
	}
	if err := patch.finalizer(ctx, policy, v1.CachePolicyFinalizer, false); err != nil {
		return reconcile.Result{}, err
	}
	found.gone = true
	r.Metrics.forget(client.ObjectKeyFromObject(policy))
	farewell.record(r.Events, policy)
	return reconcile.Result{}, nil
}

// withdrawFromStore does what spec.deletionPolicy asks for, and returns how many keys are yet to
// be reclaimed.
func (r *CachePolicyReconciler) withdrawFromStore(
	ctx context.Context, policy *v1.CachePolicy, store *Session,
) (notice, int64, error) {
	slot := slotOf(policy)
	if policy.Spec.DeletionPolicy == v1.DeletionRetain {
		return retained(policy), 0, nil
	}
	// Read live: from the cache, two policies deleted together would each leave it to the other.
	rivals, err := policiesFor(ctx, r.Reader, slot, storeOf(policy))
	if err != nil {
		return notice{}, 0, err
	}
	if heir := governing(rivals); heir != nil {
		return handedOver(policy, heir), 0, nil
	}
	if err := store.Err(); err != nil {
		return notice{}, 0, err
	}
	err = r.claiming(ctx, policy, func(claim registry.Claim) error {
		_, err := store.DeletePolicyFor(ctx, claim)
		return err
	})
	if other, contended := contenderOf(err); contended {
		return leftTo(policy, other), 0, nil
	}
	if err != nil {
		return notice{}, 0, err
	}
	_, pending, err := reclaim(ctx, store, []registry.Slot{slot}, r.Clock, defaultReclaimSlice)
	return withdrawn(policy), pending, err
}

// isHopeless says whether there is no store to wait for. The CacheStore is looked for live, as it may be younger than the
// cache knows.
func (r *CachePolicyReconciler) isHopeless(ctx context.Context, policy *v1.CachePolicy, err error) (bool, error) {
	if errors.Is(err, errStoreRequired) {
		return true, nil
	}
	if !errors.Is(err, errStoreNotFound) {
		return false, nil
	}
	live := r.Reader.Get(ctx, storeOf(policy), &v1.CacheStore{})
	if apierrors.IsNotFound(live) {
		return true, nil
	}
	if live != nil {
		return false, fmt.Errorf("reading CacheStore %s: %w", storeOf(policy), live)
	}
	return false, nil
}

// patienceLeft is how long a deleted policy still waits for its store.
func (r *CachePolicyReconciler) patienceLeft(policy *v1.CachePolicy) time.Duration {
	return r.WithdrawTimeout - r.Clock.Since(policy.DeletionTimestamp.Time)
}

func (r *CachePolicyReconciler) outOfPatience(policy *v1.CachePolicy) bool {
	return r.Clock.Since(policy.DeletionTimestamp.Time) >= r.WithdrawTimeout
}

// outOfTime says that a store that answers has had all the time that any module takes to give back its memory. What is left
// expires by itself.
func (r *CachePolicyReconciler) outOfTime(policy *v1.CachePolicy) bool {
	return r.Clock.Since(policy.DeletionTimestamp.Time) >= abandonAfter*r.WithdrawTimeout
}

func withdrawn(policy *v1.CachePolicy) notice {
	return notice{
		corev1.EventTypeNormal, reasonWithdrawn, actionWithdraw,
		fmt.Sprintf("the policy of module %s was withdrawn from Redis; its entries are gone", policy.Spec.Module),
	}
}

func retained(policy *v1.CachePolicy) notice {
	return notice{
		corev1.EventTypeNormal, reasonRetained, actionWithdraw,
		fmt.Sprintf("spec.deletionPolicy is Retain: policy and entries of module %s stay in Redis", policy.Spec.Module),
	}
}

func handedOver(policy, heir *v1.CachePolicy) notice {
	return notice{
		corev1.EventTypeNormal, reasonHandedOver, actionWithdraw,
		fmt.Sprintf("module %s is governed by CachePolicy %s", policy.Spec.Module, heir.Name),
	}
}

func leftTo(policy *v1.CachePolicy, other string) notice {
	return notice{
		corev1.EventTypeNormal, reasonHandedOver, actionWithdraw,
		fmt.Sprintf("the policy of module %s in Redis belongs to %s: it stays", policy.Spec.Module, ownerInWords(other)),
	}
}

func abandoned(policy *v1.CachePolicy, f *fault) notice {
	if policy.Status.AppliedHash == "" {
		return notice{
			corev1.EventTypeWarning, reasonAbandoned, actionWithdraw,
			fmt.Sprintf("the policy of module %s is not known to have been in force, so nothing was withdrawn. %s",
				policy.Spec.Module, withoutPromise(f.String())),
		}
	}
	return notice{
		corev1.EventTypeWarning, reasonAbandoned, actionWithdraw,
		fmt.Sprintf("the policy of module %s could not be withdrawn and stays in Redis; to remove it later: "+
			"redis-cli FCALL cw_policy_delete 1 'cw:{%s}'. %s", policy.Spec.Module, slotOf(policy), withoutPromise(f.String())),
	}
}

// defaultWithdrawTimeout outlasts a failover, and is short enough not to hold up the deletion of a
// namespace.
const defaultWithdrawTimeout = time.Minute
