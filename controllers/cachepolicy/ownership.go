// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachepolicy

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

// claiming makes a call that claims the policy. Where another owner yields, it makes the call again
// over that owner.
func (r *Reconciler) claiming(
	ctx context.Context, policy *v1.CachePolicy, call func(registry.Claim) error,
) error {
	claim := resource.ClaimOf(r.Cluster, policy)
	err := call(claim)
	other, contended := resource.Contender(err)
	if !contended {
		return err
	}
	yields, readErr := r.yields(ctx, other, policy)
	if readErr != nil {
		return readErr
	}
	if !yields {
		return err
	}
	claim.Over = other
	return call(claim)
}

// yields reports whether an owner loses the module to the policy. It does if a person has said so,
// or if it is a policy of this cluster that does not govern the module any more.
func (r *Reconciler) yields(ctx context.Context, other string, to *v1.CachePolicy) (bool, error) {
	o, known := resource.ParseOwner(other)
	switch {
	case !known:
		return false, nil
	case to.Annotations[v1.TakeOverFromAnnotation] == o.Cluster:
		return true, nil
	case o.Cluster != r.Cluster:
		return false, nil
	}
	governs, err := r.governs(ctx, o.Policy, convert.Slot(to), resource.StoreOf(to))
	return !governs, err
}

// governs reports whether a policy of this cluster governs a module by another store than the
// claimed one. In that store, the policy that claims the module governs.
func (r *Reconciler) governs(
	ctx context.Context, name client.ObjectKey, slot registry.Slot, claimed resource.StoreID,
) (bool, error) {
	policy := &v1.CachePolicy{}
	switch err := r.Client.Get(ctx, name, policy); {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading CachePolicy %s: %w", name, err)
	case convert.Slot(policy) != slot || resource.StoreOf(policy) == claimed:
		return false, nil
	}
	rivals, err := resource.PoliciesFor(ctx, r.Client, slot, resource.StoreOf(policy))
	if err != nil {
		return false, err
	}
	governor := resource.Governing(rivals)
	return governor != nil && governor.UID == policy.UID, nil
}
