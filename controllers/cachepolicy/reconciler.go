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
	// LostMarks notes the marks of holds that are put back; nil: nothing is noted.
	LostMarks *recovery.LostMarks
	Clock     clock.PassiveClock
	// StatsInterval is the minimum time between two changes of the statistics in a status.
	StatsInterval time.Duration
	// WithdrawTimeout is how long after its deletion a policy waits for a store that cannot be
	// reached. Then it is deleted without having been withdrawn.
	WithdrawTimeout time.Duration
	// Cluster is the first part of the owner that is recorded beside each policy; empty: none is.
	Cluster string
}

// attempt is one reconcile of a policy.
type attempt struct {
	*Reconciler

	policy *v1.CachePolicy
	slot   registry.Slot
	patch  *resource.Patcher
	store  *stores.Session
	found  findings
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
	a := &attempt{
		Reconciler: r, policy: policy, slot: convert.Slot(policy),
		patch: resource.NewPatcher(r.Client, policy), store: r.Stores.Open(ctx, resource.StoreOf(policy)),
	}
	defer func() { result, err = a.finish(ctx, result, err) }()
	defer contain.Panic(&err, status.ErrPanicked)
	if !policy.DeletionTimestamp.IsZero() {
		return a.withdraw(ctx)
	}
	return a.apply(ctx)
}

// apply brings the store in line with a policy that is not deleted.
func (a *attempt) apply(ctx context.Context) (reconcile.Result, error) {
	if err := a.releaseRetained(ctx); err != nil {
		return reconcile.Result{}, err
	}
	if err := a.accept(ctx); err != nil || a.found.governor != "" {
		return reconcile.Result{}, err
	}
	if a.found.suspended = a.policy.Spec.Suspend; a.found.suspended {
		a.forgetStats() // statistics that nobody renews would be wrong
		return reconcile.Result{}, nil
	}
	if err := a.push(ctx); err != nil {
		return reconcile.Result{}, err
	}
	return a.observe(ctx)
}

// accept finds out whether the policy governs its module.
func (a *attempt) accept(ctx context.Context) error {
	rivals, err := resource.PoliciesFor(ctx, a.Client, a.slot, resource.StoreOf(a.policy))
	if err != nil {
		return err
	}
	if governor := resource.Governing(rivals); governor != nil && governor.UID != a.policy.UID {
		a.found.governor = governor.Name
		a.forgetStats()
	}
	return nil
}

func (a *attempt) forgetStats() { a.Snapshot.Forget(client.ObjectKeyFromObject(a.policy)) }

// push puts the policy in force, unless the store has it already.
func (a *attempt) push(ctx context.Context) error {
	if err := a.store.Err(); err != nil {
		return err
	}
	wanted := a.wanted()
	hashes, err := a.store.PolicyHashes(ctx, []registry.Slot{a.slot})
	// What cannot be read differs: ApplyPolicyFor repairs that, or meets the same error.
	if err != nil && (registry.ConcernsStore(err) || ctx.Err() != nil) {
		return err
	}
	if err := a.hold(ctx); err != nil {
		return err
	}
	isRead := err == nil
	if isRead && hashes[0] == wanted.Hash() {
		if err := a.own(ctx); err != nil {
			return err
		}
		a.found.hash = wanted.Hash()
		return nil
	}
	if err := a.listModules(ctx); err != nil {
		return err
	}
	if isRead && hashes[0] == "" {
		if err := a.restoreHolds(ctx); err != nil {
			return err
		}
	}
	return a.write(ctx, wanted)
}

// wanted is the policy as the store can keep it.
func (a *attempt) wanted() registry.Policy {
	policy := convert.Policy(&a.policy.Spec)
	if a.store.KnowsHolds() {
		return policy
	}
	policy, a.found.withoutLag = convert.WithoutSourceLag(policy)
	return policy
}

// own claims a policy that is in place already.
func (a *attempt) own(ctx context.Context) error {
	return a.claiming(ctx, func(claim registry.Claim) error {
		return a.store.OwnPolicies(ctx, []registry.Claim{claim})
	})
}

// listModules makes the store list the policy's module before ApplyPolicyFor writes the policy. A
// missing list is written with all modules of the namespace at once. An invalidation in all modules
// must never find a list with only some of them.
func (a *attempt) listModules(ctx context.Context) error {
	return a.store.EnsureListed(ctx, a.slot, func() ([]string, error) {
		namespace := a.policy.Namespace
		policies, err := resource.PoliciesIn(ctx, a.Client, namespace, resource.StoreOf(a.policy))
		return resource.GovernedModules(policies)[namespace], err
	})
}

func (a *attempt) restoreHolds(ctx context.Context) error {
	if !a.store.KnowsHolds() {
		return nil // there is nothing to put back
	}
	referrers := resource.Referrers{Reader: a.Client, Store: resource.StoreOf(a.policy)}
	holds := recovery.Holds{Store: a.store, Now: a.Clock.Now(), Lost: a.LostMarks}
	return holds.Restore(ctx, referrers, a.slot)
}

func (a *attempt) write(ctx context.Context, wanted registry.Policy) error {
	var applied registry.Applied
	err := a.claiming(ctx, func(claim registry.Claim) (err error) {
		applied, err = a.store.ApplyPolicyFor(ctx, claim, wanted)
		return err
	})
	if err != nil {
		return err
	}
	a.found.hash, a.found.pushed, a.found.purged = wanted.Hash(), true, applied.Purged
	a.found.restored = applied.Changed && a.policy.Status.AppliedHash == a.found.hash
	return nil
}

// observe takes the statistics that the store's monitor read. Of a policy that was just put in
// force there may be none yet, so it reads those. It reclaims memory where some waits: a change of
// a policy may leave entries to be freed.
func (a *attempt) observe(ctx context.Context) (reconcile.Result, error) {
	if a.found.stats = a.Snapshot.Of(a.policy); a.found.pushed {
		counted, err := a.store.Stats(ctx, a.slot)
		if err != nil {
			return reconcile.Result{}, err
		}
		a.found.stats = &counted
		a.Snapshot.Put(a.policy, counted)
	}
	if a.found.stats == nil || a.found.stats.Pending == 0 {
		return reconcile.Result{}, nil
	}
	pending, err := a.reclaim(ctx)
	if err != nil || pending == 0 {
		return reconcile.Result{}, err
	}
	return status.InBackground(status.Immediately), nil
}

// reclaim frees memory of the module, and returns how many keys are yet to be reclaimed.
func (a *attempt) reclaim(ctx context.Context) (int64, error) {
	_, pending, err := calls.Reclaim(ctx, a.store, []registry.Slot{a.slot}, a.Clock,
		calls.DefaultReclaimSlice)
	return pending, err
}

// finish writes status, records events, and decides when to come back.
func (a *attempt) finish(
	ctx context.Context, result reconcile.Result, err error,
) (reconcile.Result, error) {
	a.found.met = a.store.End(ctx, a.policy, err)
	if a.found.deleting {
		a.found.met = a.found.met.RetryUntilDeadline()
	}
	return status.Finish(ctx, status.Ending{
		Object: a.policy, Location: a.store.Location(), Met: a.found.met, Gone: a.found.gone,
		Result: result, Write: a.patch.Status,
		Update: func(now time.Time) ([]metav1.Condition, []status.Event) {
			before := a.policy.Status
			a.policy.Status = statusOf(a.policy, a.found, now, a.StatsInterval)
			return a.policy.Status.Conditions, eventsOf(before, a.policy.Status, a.found)
		},
		Adjust: func(result reconcile.Result, err error, _ time.Time) (reconcile.Result, error) {
			if a.found.deleting && a.found.met != nil {
				left := a.deletion().Remaining(a.policy)
				result.RequeueAfter = max(min(result.RequeueAfter, left), status.Immediately)
			}
			return result, err
		},
	}, a.Events, a.Clock.Now())
}
