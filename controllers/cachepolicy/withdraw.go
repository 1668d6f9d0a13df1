// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachepolicy

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// hold keeps a policy from being deleted before it is withdrawn. It is called before the first
// write to the store: a policy that was never written can be deleted without the operator.
func (a *attempt) hold(ctx context.Context) error {
	if a.policy.Spec.DeletionPolicy == v1.DeletionRetain {
		return nil
	}
	return a.patch.Finalizer(ctx, a.policy, v1.CachePolicyFinalizer, true)
}

// releaseRetained lets a policy be deleted immediately, if that changes nothing in the store.
func (a *attempt) releaseRetained(ctx context.Context) error {
	if a.policy.Spec.DeletionPolicy != v1.DeletionRetain {
		return nil
	}
	return a.patch.Finalizer(ctx, a.policy, v1.CachePolicyFinalizer, false)
}

// withdraw removes a deleted policy from the store and lets the resource be deleted. A store that
// stays unreachable delays that for at most WithdrawTimeout.
func (a *attempt) withdraw(ctx context.Context) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(a.policy, v1.CachePolicyFinalizer) {
		a.found.gone = true
		return reconcile.Result{}, nil
	}
	a.found.deleting = true
	event, pending, err := a.withdrawFromStore(ctx)
	if met := status.Classify(err, a.store.Location()); met != nil {
		hopeless, unknown := a.isHopeless(ctx, err)
		if unknown != nil || !met.IsOfStore() || !hopeless && !a.deletion().IsOverdue(a.policy) {
			return reconcile.Result{}, cmp.Or(unknown, err)
		}
		event = abandoned(a.policy, met)
	} else if pending > 0 && !a.deletion().IsAbandoned(a.policy) {
		return status.InBackground(status.Immediately), nil
	}
	if err := a.patch.Finalizer(ctx, a.policy, v1.CachePolicyFinalizer, false); err != nil {
		return reconcile.Result{}, err
	}
	a.found.gone = true
	a.forgetStats()
	event.Record(a.Events, a.policy)
	return reconcile.Result{}, nil
}

func (r *Reconciler) deletion() resource.Deletion {
	return resource.Deletion{Timeout: r.WithdrawTimeout, Clock: r.Clock}
}

// withdrawFromStore does what spec.deletionPolicy asks for, and returns how many keys are yet to
// be reclaimed. What is left when the deletion is abandoned expires.
func (a *attempt) withdrawFromStore(ctx context.Context) (status.Event, int64, error) {
	if a.policy.Spec.DeletionPolicy == v1.DeletionRetain {
		return retained(a.policy), 0, nil
	}
	// Read live: from the cache, two policies deleted together would each leave it to the other.
	rivals, err := resource.PoliciesFor(ctx, a.Reader, a.slot, resource.StoreOf(a.policy))
	if err != nil {
		return status.Event{}, 0, err
	}
	if successor := resource.Governing(rivals); successor != nil {
		return handedOver(a.policy, successor), 0, nil
	}
	if err := a.store.Err(); err != nil {
		return status.Event{}, 0, err
	}
	err = a.claiming(ctx, func(claim registry.Claim) error {
		_, err := a.store.DeletePolicyFor(ctx, claim)
		return err
	})
	if other, contended := resource.Contender(err); contended {
		return leftTo(a.policy, other), 0, nil
	}
	if err != nil {
		return status.Event{}, 0, err
	}
	pending, err := a.reclaim(ctx)
	return withdrawn(a.policy), pending, err
}

// isHopeless reports whether there is no store to wait for. It reads the CacheStore live, as the
// cache may not know of a new one.
func (a *attempt) isHopeless(ctx context.Context, err error) (bool, error) {
	if errors.Is(err, status.ErrStoreRequired) {
		return true, nil
	}
	if !errors.Is(err, status.ErrStoreNotFound) {
		return false, nil
	}
	id := resource.StoreOf(a.policy)
	live := a.Reader.Get(ctx, id, &v1.CacheStore{})
	if apierrors.IsNotFound(live) {
		return true, nil
	}
	if live != nil {
		return false, fmt.Errorf("reading CacheStore %s: %w", id, live)
	}
	return false, nil
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

func abandoned(policy *v1.CachePolicy, met *status.ClassifiedError) status.Event {
	if policy.Status.AppliedHash == "" {
		return status.Event{
			Type: corev1.EventTypeWarning, Reason: status.ReasonAbandoned, Action: status.ActionWithdraw,
			Message: fmt.Sprintf(
				"the policy of module %s is not known to have been in force, so nothing was withdrawn. %s",
				policy.Spec.Module, status.WithoutPromise(met.String())),
		}
	}
	return status.Event{
		Type: corev1.EventTypeWarning, Reason: status.ReasonAbandoned, Action: status.ActionWithdraw,
		Message: fmt.Sprintf(
			"the policy of module %s could not be withdrawn and stays in Redis; to remove it later: "+
				"redis-cli FCALL cw_policy_delete 1 'cw:{%s}'. %s",
			policy.Spec.Module, convert.Slot(policy), status.WithoutPromise(met.String())),
	}
}
