// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachepolicy

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
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/registry"
)

// hold keeps a policy from being deleted before it is withdrawn. It is called before the first
// write to the store: a policy that was never written can be deleted without the operator.
func (r *Reconciler) hold(
	ctx context.Context, patch *resource.Patcher, policy *v1.CachePolicy,
) error {
	if policy.Spec.DeletionPolicy == v1.DeletionRetain {
		return nil
	}
	return patch.Finalizer(ctx, policy, v1.CachePolicyFinalizer, true)
}

// releaseRetained lets a policy be deleted immediately, if that changes nothing in the store.
func (r *Reconciler) releaseRetained(
	ctx context.Context, patch *resource.Patcher, policy *v1.CachePolicy,
) error {
	if policy.Spec.DeletionPolicy != v1.DeletionRetain {
		return nil
	}
	return patch.Finalizer(ctx, policy, v1.CachePolicyFinalizer, false)
}

// withdraw removes a deleted policy from the store and lets the resource be deleted. A store that
// stays unreachable delays that for at most WithdrawTimeout.
func (r *Reconciler) withdraw(
	ctx context.Context, patch *resource.Patcher, policy *v1.CachePolicy, store *stores.Session,
	found *findings,
) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(policy, v1.CachePolicyFinalizer) {
		found.gone = true
		return reconcile.Result{}, nil
	}
	found.deleting = true
	event, pending, err := r.withdrawFromStore(ctx, policy, store)
	if f := status.Classify(err, store.Location()); f != nil {
		hopeless, unknown := r.isHopeless(ctx, policy, err)
		if unknown != nil || !f.IsOfStore() || !hopeless && !r.isOverdue(policy) {
			return reconcile.Result{}, cmp.Or(unknown, err)
		}
		event = abandoned(policy, f)
	} else if pending > 0 && !r.isAbandoned(policy) {
		return status.InBackground(status.Immediately), nil
	}
	if err := patch.Finalizer(ctx, policy, v1.CachePolicyFinalizer, false); err != nil {
		return reconcile.Result{}, err
	}
	found.gone = true
	r.Snapshot.Forget(client.ObjectKeyFromObject(policy))
	event.Record(r.Events, policy)
	return reconcile.Result{}, nil
}

// withdrawFromStore does what spec.deletionPolicy asks for, and returns how many keys are yet to
// be reclaimed.
func (r *Reconciler) withdrawFromStore(
	ctx context.Context, policy *v1.CachePolicy, store *stores.Session,
) (status.Event, int64, error) {
	slot := convert.Slot(policy)
	if policy.Spec.DeletionPolicy == v1.DeletionRetain {
		return retained(policy), 0, nil
	}
	// Read live: from the cache, two policies deleted together would each leave it to the other.
	rivals, err := resource.PoliciesFor(ctx, r.Reader, slot, resource.StoreOf(policy))
	if err != nil {
		return status.Event{}, 0, err
	}
	if successor := resource.Governing(rivals); successor != nil {
		return handedOver(policy, successor), 0, nil
	}
	if err := store.Err(); err != nil {
		return status.Event{}, 0, err
	}
	err = r.claiming(ctx, policy, func(claim registry.Claim) error {
		_, err := store.DeletePolicyFor(ctx, claim)
		return err
	})
	if other, contended := resource.Contender(err); contended {
		return leftTo(policy, other), 0, nil
	}
	if err != nil {
		return status.Event{}, 0, err
	}
	_, pending, err := calls.Reclaim(ctx, store, []registry.Slot{slot}, r.Clock,
		calls.DefaultReclaimSlice)
	return withdrawn(policy), pending, err
}

// isHopeless reports whether there is no store to wait for. It reads the CacheStore live, as the
// cache may not know of a new one.
func (r *Reconciler) isHopeless(
	ctx context.Context, policy *v1.CachePolicy, err error,
) (bool, error) {
	if errors.Is(err, status.ErrStoreRequired) {
		return true, nil
	}
	if !errors.Is(err, status.ErrStoreNotFound) {
		return false, nil
	}
	live := r.Reader.Get(ctx, resource.StoreOf(policy), &v1.CacheStore{})
	if apierrors.IsNotFound(live) {
		return true, nil
	}
	if live != nil {
		return false, fmt.Errorf("reading CacheStore %s: %w", resource.StoreOf(policy), live)
	}
	return false, nil
}

// remaining returns how long a deleted policy still waits for its store.
func (r *Reconciler) remaining(policy *v1.CachePolicy) time.Duration {
	return r.WithdrawTimeout - r.Clock.Since(policy.DeletionTimestamp.Time)
}

func (r *Reconciler) isOverdue(policy *v1.CachePolicy) bool {
	return r.Clock.Since(policy.DeletionTimestamp.Time) >= r.WithdrawTimeout
}

// isAbandoned reports whether a store that answers has had more than the time that freeing the
// memory of any module takes. The rest expires.
func (r *Reconciler) isAbandoned(policy *v1.CachePolicy) bool {
	return r.Clock.Since(policy.DeletionTimestamp.Time) >= resource.AbandonAfter*r.WithdrawTimeout
}

func withdrawn(policy *v1.CachePolicy) status.Event {
	return status.Event{
		Type: corev1.EventTypeNormal, Reason: reasonWithdrawn, Action: status.ActionWithdraw,
		Message: fmt.Sprintf("the policy of module %s was withdrawn from Redis; its entries are gone",
			policy.Spec.Module),
	}
}

func retained(policy *v1.CachePolicy) status.Event {
	return status.Event{
		Type: corev1.EventTypeNormal, Reason: reasonRetained, Action: status.ActionWithdraw,
		Message: fmt.Sprintf(
			"spec.deletionPolicy is Retain: policy and entries of module %s stay in Redis",
			policy.Spec.Module),
	}
}

func handedOver(policy, successor *v1.CachePolicy) status.Event {
	return status.Event{
		Type: corev1.EventTypeNormal, Reason: reasonHandedOver, Action: status.ActionWithdraw,
		Message: fmt.Sprintf("module %s is governed by CachePolicy %s", policy.Spec.Module,
			successor.Name),
	}
}

func leftTo(policy *v1.CachePolicy, other string) status.Event {
	return status.Event{
		Type: corev1.EventTypeNormal, Reason: reasonHandedOver, Action: status.ActionWithdraw,
		Message: fmt.Sprintf("the policy of module %s in Redis belongs to %s: it stays",
			policy.Spec.Module, status.DescribeOwner(other)),
	}
}

func abandoned(policy *v1.CachePolicy, f *status.ClassifiedError) status.Event {
	if policy.Status.AppliedHash == "" {
		return status.Event{
			Type: corev1.EventTypeWarning, Reason: status.ReasonAbandoned, Action: status.ActionWithdraw,
			Message: fmt.Sprintf(
				"the policy of module %s is not known to have been in force, so nothing was withdrawn. %s",
				policy.Spec.Module, status.WithoutPromise(f.String())),
		}
	}
	return status.Event{
		Type: corev1.EventTypeWarning, Reason: status.ReasonAbandoned, Action: status.ActionWithdraw,
		Message: fmt.Sprintf(
			"the policy of module %s could not be withdrawn and stays in Redis; to remove it later: "+
				"redis-cli FCALL cw_policy_delete 1 'cw:{%s}'. %s", policy.Spec.Module, convert.Slot(
				policy), status.WithoutPromise(f.String())),
	}
}
