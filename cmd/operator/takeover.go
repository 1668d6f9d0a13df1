// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// leaderElectionID names the lease that replicas compete for.
	leaderElectionID = "operator.cachewright.io"
	// leaseDuration is how long a leader that does not renew its lease may believe that it leads.
	leaseDuration = 15 * time.Second
	// resignation is how long no operator leads after a release. Meanwhile the pods that would put
	// the finalizers back are deleted. A new installation waits for it, too.
	resignation = time.Minute
)

// takeOver makes this process the leader, so that no operator that runs, or starts again, puts back
// what is released. It takes the lease from its holder, and waits until that must have noticed. The
// returned function leaves the lease to expire. Without leader election it does nothing.
func takeOver(
	ctx context.Context, api client.Client, s settings, log logr.Logger,
) (resign func(), err error) {
	if !s.leaderElect {
		log.Info("Without --leader-elect an operator that runs puts the finalizers back: stop it first")
		return func() {}, nil
	}
	namespace := cmp.Or(s.leaderElectionNamespace, ownNamespace())
	if namespace == "" {
		return nil, errors.New("--leader-election-namespace is required outside a cluster")
	}
	t := &takeover{api: api, key: client.ObjectKey{Namespace: namespace, Name: leaderElectionID}}
	t.identity, _ = os.Hostname()
	t.identity += "_release-finalizers"
	former, err := t.hold(ctx, releaseBound+resignation)
	for apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		former, err = t.hold(ctx, releaseBound+resignation)
	}
	if err != nil {
		return nil, fmt.Errorf("taking the lease %s from the operator: %w", t.key, err)
	}
	if former != "" {
		log.Info("Took over, waiting until the former leader must have noticed",
			"leader", former, "wait", leaseDuration.String())
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the former leader %s: %w", former, ctx.Err())
		case <-time.After(leaseDuration):
		}
	}
	return func() { t.resign(ctx, log) }, nil
}

// takeover is a hold of the lease.
type takeover struct {
	api      client.Client
	key      client.ObjectKey
	identity string
}

// hold holds the lease from now on for a time, and returns who held it before.
func (t *takeover) hold(ctx context.Context, duration time.Duration) (former string, err error) {
	lease := &coordinationv1.Lease{}
	err = t.api.Get(ctx, t.key, lease)
	found := !apierrors.IsNotFound(err)
	if found && err != nil {
		return "", err
	}
	former = ptr.Deref(lease.Spec.HolderIdentity, "")
	now := metav1.NowMicro()
	lease.Namespace, lease.Name = t.key.Namespace, t.key.Name
	lease.Spec = coordinationv1.LeaseSpec{
		HolderIdentity: &t.identity, LeaseDurationSeconds: new(int32(duration.Seconds())),
		AcquireTime: &now, RenewTime: &now,
		LeaseTransitions: new(ptr.Deref(lease.Spec.LeaseTransitions, 0) + 1),
	}
	if !found {
		return "", t.api.Create(ctx, lease)
	}
	return former, t.api.Update(ctx, lease)
}

// resign shortens the hold. Without that it ends later.
func (t *takeover) resign(ctx context.Context, log logr.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseDuration)
	defer cancel()
	if _, err := t.hold(ctx, resignation); err != nil {
		log.Error(err, "The lease stays longer than needed", "lease", t.key.String())
	}
}
