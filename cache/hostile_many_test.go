// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"fmt"
	"maps"

	"github.com/cachewright/cachewright/cache"
)

// The calls about many entries are among hostileCalls.
func init() {
	maps.Copy(hostileCalls, map[string]func(context.Context, *cache.Client) error{
		"DeleteMany": func(ctx context.Context, c *cache.Client) error {
			return c.DeleteMany(ctx, hostileKey("list"), hostileKey("get"))
		},
		// It answers whatever happens, as Fetch does.
		"FetchMany": func(ctx context.Context, c *cache.Client) error {
			found, err := cache.FetchMany(ctx, c, []string{"list", "get", "many"}, hostileKey,
				func(_ context.Context, missing []string) (map[string]string, error) {
					loaded := map[string]string{}
					for _, operation := range missing {
						loaded[operation] = "value of " + operation
					}
					return loaded, nil
				})
			if err != nil || len(found) != 3 {
				panic(fmt.Sprint("FetchMany returned ", found, err))
			}
			return nil
		},
	})
}
