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
func (a *attempt) claiming(ctx context.Context, call func(registry.Claim) error) error {
	claim := resource.ClaimOf(a.Cluster, a.policy)
	err := call(claim)
	other, contended := resource.Contender(err)
	if !contended {
		return err
	}
	yields, readErr := a.yields(ctx, other)
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
func (a *attempt) yields(ctx context.Context, other string) (bool, error) {
	o, known := resource.ParseOwner(other)
	switch {
	case !known:
		return false, nil
	case a.policy.Annotations[v1.TakeOverFromAnnotation] == o.Cluster:
		return true, nil
	case o.Cluster != a.Cluster:
		return false, nil
	}
	governs, err := a.governs(ctx, o.Policy)
	return !governs, err
}

// governs reports whether a policy of this cluster governs the module by another store than the
// claimed one. In that store, the policy that claims the module governs.
func (a *attempt) governs(ctx context.Context, name client.ObjectKey) (bool, error) {
	policy := &v1.CachePolicy{}
	switch err := a.Client.Get(ctx, name, policy); {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading CachePolicy %s: %w", name, err)
	}
	id := resource.StoreOf(policy)
	if convert.Slot(policy) != a.slot || id == resource.StoreOf(a.policy) {
		return false, nil
	}
	rivals, err := resource.PoliciesFor(ctx, a.Client, a.slot, id)
	if err != nil {
		return false, err
	}
	governor := resource.Governing(rivals)
	return governor != nil && governor.UID == policy.UID, nil
}
