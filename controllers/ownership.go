// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// owner names a CachePolicy of a cluster, as it is recorded beside the policy in Redis.
type owner struct {
	cluster string
	policy  client.ObjectKey
}

// ownerForm is what an operator writes. Whatever else is in Redis comes from elsewhere and is never repeated to people.
var ownerForm = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)/([a-z0-9-]{1,63})/([a-z0-9.-]{1,253})$`)

func ownerOf(cluster string, policy *v1.CachePolicy) owner {
	return owner{cluster: cluster, policy: client.ObjectKeyFromObject(policy)}
}

func parseOwner(text string) (owner, bool) {
	parts := ownerForm.FindStringSubmatch(text)
	if parts == nil {
		return owner{}, false
	}
	return owner{cluster: parts[1], policy: client.ObjectKey{Namespace: parts[2], Name: parts[3]}}, true
}

// String is empty where the operator does not know its cluster: then nobody claims the policy.
func (o owner) String() string {
	if o.cluster == "" {
		return ""
	}
	return o.cluster + "/" + o.policy.String()
}

// claimOf is the claim of a policy to its module.
func claimOf(cluster string, policy *v1.CachePolicy) registry.Claim {
	return registry.Claim{Slot: slotOf(policy), Owner: ownerOf(cluster, policy).String()}
}

// contenderOf returns the owner that a claim met, if that is what is wrong.
func contenderOf(err error) (string, bool) {
	var contended *registry.ContendedError
	if !errors.As(err, &contended) {
		return "", false
	}
	return contended.Owner, true
}

func isContention(err error) bool {
	_, contended := contenderOf(err)
	return contended
}

// claiming makes a call that claims the policy, and once more over another owner whose place the policy may take.
func (r *CachePolicyReconciler) claiming(ctx context.Context, policy *v1.CachePolicy, call func(registry.Claim) error) error {
	claim := claimOf(r.Cluster, policy)
	err := call(claim)
	other, contended := contenderOf(err)
	if !contended {
		return err
	}
	yields, lookErr := r.yields(ctx, other, policy)
	if lookErr != nil {
		return lookErr
	}
	if !yields {
		return err
	}
	claim.Over = other
	return call(claim)
}

// yields says whether an owner loses the module to the policy: a person has said so, or it is a policy of this cluster that
// does not govern the module any more.
func (r *CachePolicyReconciler) yields(ctx context.Context, other string, to *v1.CachePolicy) (bool, error) {
	o, known := parseOwner(other)
	switch {
	case !known:
		return false, nil
	case to.Annotations[v1.TakeOverFromAnnotation] == o.cluster:
		return true, nil
	case o.cluster != r.Cluster:
		return false, nil
	}
	governs, err := r.governs(ctx, o.policy, slotOf(to), storeOf(to))
	return !governs, err
}

// governs says whether a policy of this cluster governs a module by another store than the one given. In that store, it
// does not: the policy that claims the module does.
func (r *CachePolicyReconciler) governs(
	ctx context.Context, name client.ObjectKey, slot registry.Slot, claimed storeID,
) (bool, error) {
	policy := &v1.CachePolicy{}
	switch err := r.Client.Get(ctx, name, policy); {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading CachePolicy %s: %w", name, err)
	case slotOf(policy) != slot || storeOf(policy) == claimed:
		return false, nil
	}
	rivals, err := policiesFor(ctx, r.Client, slot, storeOf(policy))
	if err != nil {
		return false, err
	}
	winner := governing(rivals)
	return winner != nil && winner.UID == policy.UID, nil
}

// contention is what a person is told of another owner.
func contention(at place, other string) string {
	o, known := parseOwner(other)
	if !known {
		return fmt.Sprintf("%s has a policy of this module that is not this operator's, with an owner that it does not know: it is left "+
			"as it is. Give each cluster a Redis, or a database, of its own", at)
	}
	return fmt.Sprintf("%s has a policy of this module that belongs to CachePolicy %s of cluster %s: it is left as it is. Give each cluster "+
		"and each CacheStore a Redis, or a database, of its own; or delete one of the two policies; or, to take the module over, set the annotation "+
		"%s: %s", at, o.policy, o.cluster, v1.TakeOverFromAnnotation, o.cluster)
}

// ownerInWords names another owner in a message.
func ownerInWords(other string) string {
	o, known := parseOwner(other)
	if !known {
		return "an owner that this operator does not know"
	}
	return fmt.Sprintf("CachePolicy %s of cluster %s", o.policy, o.cluster)
}
