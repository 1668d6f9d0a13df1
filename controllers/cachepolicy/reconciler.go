// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachepolicy

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// Reconciler puts policies in force in their stores, and their statistics into status.
type Reconciler struct {
	// Client reads from the cache; its reads must see its own writes.
	Client client.Client
	// Reader reads from the API server.
	Reader client.Reader
	Stores stores.Provider
	Events events.EventRecorder
	// Snapshot has the statistics of modules.
	Snapshot *stats.Snapshot
	Clock    clock.PassiveClock
	// StatsInterval is the minimum time between two changes of the statistics in a status.
	StatsInterval time.Duration
	// WithdrawTimeout is how long after its deletion a policy waits for a store that cannot be
	// reached. Then it is deleted without having been withdrawn.
	WithdrawTimeout time.Duration
	// Cluster is the first part of the owner that is recorded beside each policy; empty: none is.
	Cluster string
}

// Reconcile brings the store in line with one policy.
func (r *Reconciler) Reconcile(
	ctx context.Context, req reconcile.Request,
) (result reconcile.Result, err error) {
	policy := &v1.CachePolicy{}
	if err := r.Client.Get(ctx, req.NamespacedName, policy); apierrors.IsNotFound(err) {
		r.Snapshot.Forget(req.NamespacedName)
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading CachePolicy %s: %w", req, err)
	}
	patch := resource.NewPatcher(r.Client, policy)
	store := r.Stores.Open(ctx, resource.StoreOf(policy))
	found := &findings{}
	defer func() { result, err = r.finish(ctx, patch, policy, store, found, result, err) }()
	defer contain.Panic(&err, status.ErrPanicked)

	if !policy.DeletionTimestamp.IsZero() {
		return r.withdraw(ctx, patch, policy, store, found)
	}
	if err := r.releaseRetained(ctx, patch, policy); err != nil {
		return reconcile.Result{}, err
	}
	if err := r.accept(ctx, policy, found); err != nil || found.governor != "" {
		return reconcile.Result{}, err
	}
	if found.suspended = policy.Spec.Suspend; found.suspended {
		r.Snapshot.Forget(req.NamespacedName) // statistics that nobody renews would be wrong
		return reconcile.Result{}, nil
	}
	if err := r.push(ctx, patch, policy, store, found); err != nil {
		return reconcile.Result{}, err
	}
	return r.observe(ctx, policy, store, found)
}

// accept finds out whether the policy governs its module.
func (r *Reconciler) accept(ctx context.Context, policy *v1.CachePolicy, found *findings) error {
	rivals, err := resource.PoliciesFor(ctx, r.Client, convert.Slot(policy), resource.StoreOf(policy))
	if err != nil {
		return err
	}
	if governor := resource.Governing(rivals); governor != nil && governor.UID != policy.UID {
		found.governor = governor.Name
		r.Snapshot.Forget(client.ObjectKeyFromObject(policy))
	}
	return nil
}

// push puts the policy in force, unless the store has it already.
func (r *Reconciler) push(
	ctx context.Context, patch *resource.Patcher, policy *v1.CachePolicy, store *stores.Session,
	found *findings,
) error {
	if err := store.Err(); err != nil {
		return err
	}
	slot, wanted := convert.Slot(policy), convert.Policy(&policy.Spec)
	hashes, err := store.PolicyHashes(ctx, []registry.Slot{slot})
	// What cannot be read differs: ApplyPolicyFor repairs that, or meets the same error.
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
	if err == nil && hashes[0] == "" {
		referrers := resource.Referrers{Reader: r.Client, Store: resource.StoreOf(policy)}
		if err := recovery.RestoreHolds(ctx, referrers, store, slot, r.Clock.Now()); err != nil {
			return err
		}
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
func (r *Reconciler) own(
	ctx context.Context, policy *v1.CachePolicy, store calls.PolicyStore,
) error {
	return r.claiming(ctx, policy, func(claim registry.Claim) error {
		return store.OwnPolicies(ctx, []registry.Claim{claim})
	})
}

// listModules makes the store list the policy's module before ApplyPolicyFor writes the policy. A
// missing list is written with all modules of the namespace at once. An invalidation in all modules
// must never find a list with only some of them.
func (r *Reconciler) listModules(
	ctx context.Context, policy *v1.CachePolicy, store calls.PolicyStore,
) error {
	if joined, err := store.JoinModules(ctx, convert.Slot(policy)); err != nil || joined {
		return err
	}
	policies, err := resource.PoliciesIn(ctx, r.Client, policy.Namespace, resource.StoreOf(policy))
	if err != nil {
		return err
	}
	return store.AddModules(ctx, policy.Namespace,
		resource.GovernedModules(policies)[policy.Namespace]...)
}

// observe takes the statistics that the store's monitor read. Of a policy that was just put in
// force there may be none yet, so it reads those. It reclaims memory where some waits: a change of
// a policy may leave entries to be freed.
func (r *Reconciler) observe(
	ctx context.Context, policy *v1.CachePolicy, store calls.PolicyStore, found *findings,
) (reconcile.Result, error) {
	slot := convert.Slot(policy)
	if found.stats = r.Snapshot.Of(policy); found.pushed {
		counted, err := store.Stats(ctx, slot)
		if err != nil {
			return reconcile.Result{}, err
		}
		found.stats = &counted
		r.Snapshot.Put(policy, counted)
	}
	if found.stats == nil || found.stats.Pending == 0 {
		return reconcile.Result{}, nil
	}
	_, pending, err := calls.Reclaim(ctx, store, []registry.Slot{slot}, r.Clock,
		calls.DefaultReclaimSlice)
	if err != nil {
		return reconcile.Result{}, err
	}
	if pending > 0 {
		return status.InBackground(status.Immediately), nil
	}
	return reconcile.Result{}, nil
}

// finish writes status, records events, and decides when to come back.
func (r *Reconciler) finish(
	ctx context.Context, patch *resource.Patcher, policy *v1.CachePolicy, store *stores.Session,
	found *findings,
	result reconcile.Result, err error,
) (reconcile.Result, error) {
	status.LogPanic(log.FromContext(ctx), err)
	found.fault = status.Classify(err, store.Location())
	if found.deleting {
		found.fault = found.fault.RetryUntilDeadline()
	}
	store.Close(found.fault)
	store.WakeAfterProbe(policy, found.fault)
	return status.Finish(ctx, status.Ending{
		Object: policy, Location: store.Location(), Met: found.fault, Gone: found.gone, Result: result,
		Write: patch.Status,
		Update: func(now time.Time) ([]metav1.Condition, []status.Event) {
			before := policy.Status
			policy.Status = statusOf(policy, *found, now, r.StatsInterval)
			return policy.Status.Conditions, eventsOf(before, policy.Status, *found)
		},
		Adjust: func(result reconcile.Result, err error, _ time.Time) (reconcile.Result, error) {
			if found.deleting && found.fault != nil {
				result.RequeueAfter = max(min(result.RequeueAfter, r.remaining(policy)), status.Immediately)
			}
			return result, err
		},
	}, r.Events, r.Clock.Now())
}
