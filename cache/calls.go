// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/registry"
)

// The calls to Redis about one entry. Each tells of its failure.

func (c *Client) read(ctx context.Context, key registry.Key) (lookup registry.Lookup, err error) {
	err = c.about(ctx, reading, key, func(ctx context.Context) error {
		lookup, err = c.store.Read(ctx, key)
		return err
	})
	return lookup, err
}

// inspect looks at an entry for an audit, whose failures are no one's.
func (c *Client) inspect(ctx context.Context, key registry.Key) (lookup registry.Lookup, version registry.Version, err error) {
	err = c.ask(ctx, reading, key.Module, func(ctx context.Context) error {
		lookup, version, err = c.store.Inspect(ctx, key)
		return err
	})
	return lookup, version, err
}

func (c *Client) lease(ctx context.Context, key registry.Key) (lookup registry.Lookup, err error) {
	c.modules.add(key.Module)
	err = c.about(ctx, writing, key, func(ctx context.Context) error {
		lookup, err = c.store.Lease(ctx, key)
		return err
	})
	return lookup, err
}

// leaseLocked is lease if the lock is for no time.
func (c *Client) leaseLocked(ctx context.Context, key registry.Key, lock time.Duration) (lookup registry.Lookup, err error) {
	if lock == 0 {
		return c.lease(ctx, key)
	}
	c.modules.add(key.Module)
	err = c.about(ctx, writing, key, func(ctx context.Context) error {
		lookup, err = c.store.LeaseLocked(ctx, key, lock)
		return err
	})
	return lookup, err
}

// unlock gives the load lock back. If that fails it ends by itself.
func (c *Client) unlock(ctx context.Context, key registry.Key) {
	_ = c.about(ctx, writing, key, func(ctx context.Context) error { return c.store.Unlock(ctx, key) })
}

func (c *Client) set(ctx context.Context, key registry.Key, payload []byte, token registry.Token) (filled registry.Filled, err error) {
	err = c.about(ctx, writing, key, func(ctx context.Context) error {
		filled, err = c.store.Set(ctx, key, payload, token)
		return err
	})
	c.observeFill(ctx, key, filled.Outcome, err)
	return filled, err
}

func (c *Client) setNegative(ctx context.Context, key registry.Key, token registry.Token) (filled registry.Filled, err error) {
	err = c.about(ctx, writing, key, func(ctx context.Context) error {
		filled, err = c.store.SetNegative(ctx, key, nil, token)
		return err
	})
	c.observeFill(ctx, key, filled.Outcome, err)
	return filled, err
}

func (c *Client) remove(ctx context.Context, key registry.Key) error {
	err := c.about(ctx, writing, key, func(ctx context.Context) error {
		_, err := c.store.Delete(ctx, key)
		return err
	})
	c.near.changed(key.Slot, key.Operation, "")
	return err
}

func (c *Client) about(ctx context.Context, access access, key registry.Key, call func(context.Context) error) error {
	err := c.ask(ctx, access, key.Module, call)
	if err != nil && ctx.Err() == nil {
		c.failed(key.Module, key.Operation, err)
	}
	return err
}

func (c *Client) encode(value any) ([]byte, error) {
	payload, err := c.codec.Marshal(value)
	if err != nil {
		return nil, &quietError{message: fmt.Sprintf("%v: a %T cannot be encoded by %T", ErrCodec, value, c.codec), kind: ErrCodec, cause: err}
	}
	return payload, nil
}

// decode says whether out now holds the value, and nothing of what it held before. Stored bytes of another
// version of the application are a miss.
func (c *Client) decode(key registry.Key, payload []byte, out any) bool {
	dest.Clear(out)
	err := c.codec.Unmarshal(payload, out)
	if err == nil {
		return true
	}
	dest.Clear(out)
	c.failed(key.Module, key.Operation, &quietError{
		message: fmt.Sprintf("%v: a stored entry cannot be decoded by %T into a %T: it was made of another type", ErrCodec, c.codec, out),
		kind:    ErrCodec,
		cause:   err,
	})
	return false
}
