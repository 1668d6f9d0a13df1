// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// contentionMessage is the message about another owner.
func contentionMessage(at Location, other string) string {
	o, known := resource.ParseOwner(other)
	if !known {
		return fmt.Sprintf(
			"%s has a policy of this module whose owner this operator does not know: it stays as it is. "+
				"Give each cluster a Redis, or a database, of its own", at)
	}
	return fmt.Sprintf(
		"%s has a policy of this module that belongs to CachePolicy %s of cluster %s: it stays as it "+
			"is. Give each cluster and each CacheStore a Redis, or a database, of its own. "+
			"Or delete one of the two policies. To take the module over, set the annotation %s: %s",
		at, o.Policy, o.Cluster, v1.TakeOverFromAnnotation, o.Cluster)
}

// DescribeOwner names another owner in a message.
func DescribeOwner(other string) string {
	o, known := resource.ParseOwner(other)
	if !known {
		return "an owner that this operator does not know"
	}
	return fmt.Sprintf("CachePolicy %s of cluster %s", o.Policy, o.Cluster)
}
