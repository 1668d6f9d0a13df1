// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"errors"
	"regexp"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/registry"
)

// Owner names a CachePolicy of a cluster, as it is recorded beside the policy in Redis.
type Owner struct {
	Cluster string
	Policy  client.ObjectKey
}

// ownerForm is the form that operators write. Anything else in Redis comes from elsewhere, and is
// never shown to people.
var ownerForm = regexp.MustCompile(
	`^([A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)/([a-z0-9-]{1,63})/([a-z0-9.-]{1,253})$`)

func ownerOf(cluster string, policy *v1.CachePolicy) Owner {
	return Owner{Cluster: cluster, Policy: client.ObjectKeyFromObject(policy)}
}

// ParseOwner returns the owner that a text names; ok is false if no operator wrote it.
func ParseOwner(text string) (Owner, bool) {
	parts := ownerForm.FindStringSubmatch(text)
	if parts == nil {
		return Owner{}, false
	}
	return Owner{
		Cluster: parts[1], Policy: client.ObjectKey{Namespace: parts[2], Name: parts[3]},
	}, true
}

// String returns the owner as it is recorded. It is empty where the operator does not know its
// cluster: then nobody claims the policy.
func (o Owner) String() string {
	if o.Cluster == "" {
		return ""
	}
	return o.Cluster + "/" + o.Policy.String()
}

// ClaimOf returns the claim of a policy to its module.
func ClaimOf(cluster string, policy *v1.CachePolicy) registry.Claim {
	return registry.Claim{Slot: convert.Slot(policy), Owner: ownerOf(cluster, policy).String()}
}

// Contender returns the other owner that a claim met, if an error is about that.
func Contender(err error) (string, bool) {
	var contended *registry.ContendedError
	if !errors.As(err, &contended) {
		return "", false
	}
	return contended.Owner, true
}

// IsContended reports whether a claim met another owner.
func IsContended(err error) bool {
	_, contended := Contender(err)
	return contended
}
