// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package transact

import "context"

// callAll calls all hooks, also if one panics. The panic goes on after the last one.
func callAll(ctx context.Context, hooks []func(context.Context)) {
	for i, hook := range hooks {
		returned := false
		func() {
			defer func() {
				if !returned {
					callAll(ctx, hooks[i+1:])
				}
			}()
			hook(ctx)
			returned = true
		}()
	}
}
