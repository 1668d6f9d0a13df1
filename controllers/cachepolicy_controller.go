// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// moduleField selects policies by module, in the cache (where it is an index) and at the API
// server (where it is a selectable field).
const moduleField = "spec.module"

// CachePolicyReconciler puts policies in force in their stores and their figures into status.
type CachePolicyReconciler struct {
	// Client reads from the cache; its reads must see its own writes.
	Client client.Client
	// Reader reads from the API server.
	Reader client.Reader
	Stores StoreProvider
	Events events.EventRecorder
	// Metrics gets the figures of modules.
	Metrics *Metrics
	Clock   clock.PassiveClock
	// StatsInterval is the least time between two snapshots of figures in a status.
	StatsInterval time.Duration
	// WithdrawTimeout is how long after its deletion a policy waits for a store that cannot be
	// reached, before it goes without having been withdrawn.
	WithdrawTimeout time.Duration
	// Cluster is the first part of the owner that is recorded beside each policy; empty: none is.
	Cluster string
}

// Reconcile brings the store in line with one policy.
func (r *CachePolicyReconciler) Reconcile(ctx context.Context, req reconcile.Request) (result reconcile.Result, err error) {
	policy := &v1.CachePolicy{}
	if err := r.Client.Get(ctx, req.NamespacedName, policy); apierrors.IsNotFound(err) {
		r.Metrics.forget(req.NamespacedName)
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading CachePolicy %s: %w", req, err)
	}
	patch := newPatcher(r.Client, policy)
	store := r.Stores.Open(ctx, storeOf(policy))
	found := &policyFindings{}
	defer func() { result, err = r.settle(ctx, patch, policy, store, found, result, err) }()
	defer contain.Panic(&err, errPanicked)

	if !policy.DeletionTimestamp.IsZero() {
		return r.withdraw(ctx, patch, policy, store, found)
	}
	if err := r.releaseRetained(ctx, patch, policy); err != nil {
		return reconcile.Result{}, err
	}
	if err := r.accept(ctx, policy, found); err != nil || found.winner != "" {
		return reconcile.Result{}, err
	}
	if found.suspended = policy.Spec.Suspend; found.suspended {
		r.Metrics.forget(req.NamespacedName) // figures that nobody renews would lie
		return reconcile.Result{}, nil
	}
	if err := r.push(ctx, patch, policy, store, found); err != nil {
		return reconcile.Result{}, err
	}
	return r.observe(ctx, policy, store, found)
}

// accept finds out whether the policy governs its module.
func (r *CachePolicyReconciler) accept(ctx context.Context, policy *v1.CachePolicy, found *policyFindings) error {
	rivals, err := policiesFor(ctx, r.Client, slotOf(policy), storeOf(policy))
	if err != nil {
		return err
	}
	if winner := governing(rivals); winner != nil && winner.UID != policy.UID {
		found.winner = winner.Name
		r.Metrics.forget(client.ObjectKeyFromObject(policy))
	}
	return nil
}

// push puts the policy in force, unless the store has it already.
func (r *CachePolicyReconciler) push(
	ctx context.Context, patch *patcher, policy *v1.CachePolicy, store *Session, found *policyFindings,
) error {
	if err := store.Err(); err != nil {
		return err
	}
	slot, wanted := slotOf(policy), policyOf(&policy.Spec)
	hashes, err := store.PolicyHashes(ctx, []registry.Slot{slot})
	// What cannot be read differs: ApplyPolicyFor puts that right, or meets the trouble itself.
	if err != nil && (registry.ConcernsStore(err) || ctx.Err() != nil) {
		return err
	}
	if err := r.hold(ctx, patch, policy); err != nil {
		return err
	}
	if err == nil && hashes[0] == wanted.Hash() {
		if err := r.own(ctx, policy, store); err != nil {
			return err
		}
		found.hash = wanted.Hash()
		return nil
	}
	if err := r.listModules(ctx, policy, store); err != nil {
		return err
	}
	var applied registry.Applied
	err = r.claiming(ctx, policy, func(claim registry.Claim) (err error) {
		applied, err = store.ApplyPolicyFor(ctx, claim, wanted)
		return err
	})
	if err != nil {
		return err
	}
	found.hash, found.pushed, found.purged = wanted.Hash(), true, applied.Purged
	found.restored = applied.Changed && policy.Status.AppliedHash == found.hash
	return nil
}

// own claims a policy that is in place already.
func (r *CachePolicyReconciler) own(ctx context.Context, policy *v1.CachePolicy, store PolicyStore) error {
	return r.claiming(ctx, policy, func(claim registry.Claim) error {
		return store.OwnPolicies(ctx, []registry.Claim{claim})
	})
}

// listModules makes sure that the store lists the policy's module before ApplyPolicyFor writes it. A list that is not there is
// written with all modules of the namespace at once: who purges a user everywhere must never find a list with some of them.
func (r *CachePolicyReconciler) listModules(ctx context.Context, policy *v1.CachePolicy, store PolicyStore) error {
	if joined, err := store.JoinModules(ctx, slotOf(policy)); err != nil || joined {
		return err
	}
	policies, err := policiesIn(ctx, r.Client, policy.Namespace, storeOf(policy))
	if err != nil {
		return err
	}
	return store.AddModules(ctx, policy.Namespace, governedModules(policies)[policy.Namespace]...)
}

// observe takes the figures that the store's monitor counted, or counts itself where there are none yet of
// what it just put in force. It reclaims where something waits; a policy change may leave work behind.
func (r *CachePolicyReconciler) observe(
	ctx context.Context, policy *v1.CachePolicy, store PolicyStore, found *policyFindings,
) (reconcile.Result, error) {
	slot := slotOf(policy)
	if found.stats = r.Metrics.statsOf(policy); found.pushed {
		stats, err := store.Stats(ctx, slot)
		if err != nil {
			return reconcile.Result{}, err
		}
		found.stats = &stats
		r.Metrics.observe(policy, stats)
	}
	if found.stats == nil || found.stats.Pending == 0 {
		return reconcile.Result{}, nil
	}
	_, pending, err := reclaim(ctx, store, []registry.Slot{slot}, r.Clock, defaultReclaimSlice)
	if err != nil {
		return reconcile.Result{}, err
	}
	if pending > 0 {
		return inBackground(soon), nil
	}
	return reconcile.Result{}, nil
}

// inBackground comes back after a while, behind resources that somebody just changed.
func inBackground(after time.Duration) reconcile.Result {
	return reconcile.Result{RequeueAfter: after, Priority: new(handler.LowPriority)}
}

// settle writes status, tells what changed, and decides when to come back.
func (r *CachePolicyReconciler) settle(
	ctx context.Context, patch *patcher, policy *v1.CachePolicy, store *Session, found *policyFindings,
	result reconcile.Result, err error,
) (reconcile.Result, error) {
	tellPanic(log.FromContext(ctx), err)
	found.fault = faultOf(err, store.place)
	if found.deleting {
		found.fault = found.fault.untilOutOfPatience()
	}
	store.Close(found.fault)
	store.await(policy, found.fault)
	if found.gone || found.fault.leavesStatus() {
		return found.fault.resultOr(result, nil, r.Clock.Now())
	}
	before := policy.Status
	now := r.Clock.Now()
	policy.Status = policyStatus(policy, *found, now, r.StatsInterval)
	after := policy.Status
	if err := patch.status(ctx, policy); err != nil {
		return faultOf(err, store.place).resultOr(result, nil, now)
	}
	for _, e := range policyEvents(before, after, *found) {
		e.record(r.Events, policy)
	}
	result, err = found.fault.resultOr(result, after.Conditions, now)
	if found.deleting && found.fault != nil {
		result.RequeueAfter = max(min(result.RequeueAfter, r.patienceLeft(policy)), soon)
	}
	return result, err
}

// othersWrites is for lists that are read for what people wrote, not for our own status.
const othersWrites = client.DisableReadYourWritesConsistency

// readOnly is for lists that may be long and are not changed: the cache need not copy them.
const readOnly = client.UnsafeDisableDeepCopy

// policiesFor lists the policies for one module of a namespace in a store.
func policiesFor(ctx context.Context, reader client.Reader, slot registry.Slot, id storeID) ([]v1.CachePolicy, error) {
	policies := &v1.CachePolicyList{}
	err := reader.List(ctx, policies, client.InNamespace(slot.Namespace),
		client.MatchingFields{moduleField: slot.Module, storeField: id.Name}, othersWrites, readOnly)
	if err != nil {
		return nil, fmt.Errorf("listing the policies for module %s: %w", slot, err)
	}
	return policies.Items, nil
}

// policiesIn lists the policies of a namespace that refer to a store.
func policiesIn(ctx context.Context, reader client.Reader, namespace string, id storeID) ([]v1.CachePolicy, error) {
	policies := &v1.CachePolicyList{}
	if err := reader.List(ctx, policies, append(inStore(namespace, id), othersWrites, readOnly)...); err != nil {
		return nil, fmt.Errorf("listing the policies of namespace %s: %w", namespace, err)
	}
	return policies.Items, nil
}
