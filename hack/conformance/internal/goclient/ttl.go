// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package goclient

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

// Package cache has no TTL of one fill. An application that needs one does this.

func (c *client) registryKey(r request) (registry.Key, error) {
	id, err := cache.ID(json.RawMessage(*r.Params))
	return registry.Key{
		Slot: c.slot(r.Module), Operation: string(r.Operation), ID: id, User: string(r.User),
	}, err
}

func (r request) fillOptions() registry.FillOptions {
	return registry.FillOptions{TTL: time.Duration(r.TTLMs) * time.Millisecond}
}

// fetchFor reads an entry that is kept for a time, or for that of the policy if this is less.
func (c *client) fetchFor(
	ctx context.Context, r request, load func(context.Context) ([]byte, error),
) ([]byte, error) {
	key, err := c.registryKey(r)
	if err != nil {
		return nil, err
	}
	found, err := c.registry.Get(ctx, key)
	if err != nil || found.Hit {
		return found.Payload, err
	}
	payload, err := load(ctx)
	if err != nil {
		return nil, err
	}
	_, err = c.registry.Fill(ctx, key, payload, found.Token, r.fillOptions())
	if errors.Is(err, registry.ErrTTLTooLong) {
		_, err = c.registry.Set(ctx, key, payload, found.Token)
	}
	return payload, err
}

func (c *client) putFor(ctx context.Context, r request) error {
	key, err := c.registryKey(r)
	if err != nil {
		return err
	}
	_, err = c.registry.Put(ctx, key, []byte(*r.Payload), r.fillOptions())
	return err
}
