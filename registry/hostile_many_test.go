// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"maps"
	"time"
)

var hostileKeys = []Key{entry("list", "1", ""), entry("list", "2", "u")}

// The calls about many entries are among hostileCalls.
func init() {
	maps.Copy(hostileCalls, map[string]hostileCall{
		"ReadMany": func(ctx context.Context, r *Registry) (any, error) { return r.ReadMany(ctx, hostileKeys) },
		"ReadManyLocked": func(ctx context.Context, r *Registry) (any, error) {
			lookups, _, err := r.ReadManyLocked(ctx, hostileKeys)
			return lookups, err
		},
		"LeaseMany": func(ctx context.Context, r *Registry) (any, error) {
			leased := r.LeaseMany(ctx, hostileKeys, time.Second)
			return leased, errors.Join(leased[0].Err, leased[1].Err)
		},
		"SetMany": func(ctx context.Context, r *Registry) (any, error) {
			filled := r.SetMany(ctx, []Fill{{Key: hostileKeys[0], Token: "token"}, {Key: hostileKeys[1], Token: "token", Options: FillOptions{Negative: true}}})
			return filled, errors.Join(filled[0].Err, filled[1].Err)
		},
		"UnlockMany": func(ctx context.Context, r *Registry) (any, error) {
			return nil, errors.Join(r.UnlockMany(ctx, hostileKeys)...)
		},
		"DeleteMany": func(ctx context.Context, r *Registry) (any, error) {
			return nil, errors.Join(r.DeleteMany(ctx, hostileKeys)...)
		},
	})
}
