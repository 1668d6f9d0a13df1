// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/registry"
)

func ExampleNew() {
	now := time.Now()
	fake := cachetest.New(cachetest.WithClock(func() time.Time { return now }))
	fake.SetPolicy("users", registry.Policy{
		Operations: []registry.OperationPolicy{{Name: "list", TTL: 3 * time.Minute}},
	})
	list := func() {
		_, _ = cache.Fetch(context.Background(), fake, cache.Key{Module: "users", Operation: "list"},
			func(context.Context) ([]string, error) {
				fmt.Println("loading")
				return []string{"Ada"}, nil
			})
	}
	list()
	list()
	now = now.Add(4 * time.Minute)
	list()
	fmt.Println(len(fake.Calls()), "calls")
	// Output:
	// loading
	// loading
	// 3 calls
}
