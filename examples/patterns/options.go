// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package patterns

import (
	"os"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

// Open connects a process with the Redis that its environment names.
func Open(namespace string) (*cache.Client, error) {
	client, err := registry.ClientFromEnv(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	return cache.New(client, namespace,
		cache.WithTimeout(50*time.Millisecond),
		cache.WithNearCache(cache.NearCache{ByPolicy: true}), // what has a localTTL in its policy
		cache.WithSchema("v2", cache.Operation{Module: "posts"}),
	)
}
