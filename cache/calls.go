// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/registry"
)

// The calls to Redis about one entry. Each tells of its failure, and takes no longer than the timeout, or what is left
// of it to a caller that makes several.

func (c *Client) read(ctx context.Context, key registry.Key) (lookup registry.Lookup, err error) {
	err = c.about(ctx, c.timeout, reading, key, func(ctx context.Context) error {
		lookup, err = c.store.Read(ctx, key)
		return err
	})
	return lookup, err
}

// readLocked is read, and says of a miss whether another process is loading the entry.
func (c *Client) readLocked(ctx context.Context, key registry.Key) (lookup registry.Lookup, locked bool, err error) {
	err = c.about(ctx, c.timeout, reading, key, func(ctx context.Context) error {
		lookup, locked, err = c.store.ReadLocked(ctx, key)
		return err
	})
	return lookup, locked, err
}

// inspect looks at an entry for an audit, whose failures are no one's.
func (c *Client) inspect(ctx context.Context, key registry.Key) (lookup registry.Lookup, version registry.Version, err error) {
	err = c.ask(ctx, reading, key.Module, func(ctx context.Context) error {
		lookup, version, err = c.store.Inspect(ctx, key)
		return err
	})
	return lookup, version, err
}

// lease returns a lease, with the load lock unless that is for no time. It is of no use while Redis takes no fills:
// others would wait for a load that is never stored.
func (c *Client) lease(ctx context.Context, most time.Duration, key registry.Key, lock time.Duration) (lookup registry.Lookup, err error) {
	if _, err := c.admit(breakerUse{key.Module, filling}); err != nil {
		c.failed(key.Module, key.Operation, err)
		return registry.Lookup{}, err
	}
	err = c.about(ctx, most, writing, key, func(ctx context.Context) error {
		if lock == 0 {
			lookup, err = c.store.Lease(ctx, key)
		} else {
			lookup, err = c.store.LeaseLocked(ctx, key, lock)
		}
		return err
	})
	if lookup.Cacheable {
		c.modules.add(key.Module)
	}
	return lookup, err
}

// unlock gives the load lock back. If that fails it ends by itself.
func (c *Client) unlock(ctx context.Context, key registry.Key) {
	_ = c.about(ctx, c.timeout, writing, key, func(ctx context.Context) error { return c.store.Unlock(ctx, key) })
}

func (c *Client) set(ctx context.Context, most time.Duration, key registry.Key, payload []byte, token registry.Token) (filled registry.Filled, err error) {
	err = c.about(ctx, most, filling, key, func(ctx context.Context) error {
		filled, err = c.store.Set(ctx, key, payload, token)
		return err
	})
	c.observeFill(ctx, key, filled.Outcome, err)
	return filled, err
}

func (c *Client) setNegative(ctx context.Context, most time.Duration, key registry.Key, token registry.Token) (filled registry.Filled, err error) {
	err = c.about(ctx, most, filling, key, func(ctx context.Context) error {
		filled, err = c.store.SetNegative(ctx, key, nil, token)
		return err
	})
	c.observeFill(ctx, key, filled.Outcome, err)
	return filled, err
}

func (c *Client) remove(ctx context.Context, most time.Duration, key registry.Key) error {
	err := c.about(ctx, most, writing, key, func(ctx context.Context) error {
		_, err := c.store.Delete(ctx, key)
		return err
	})
	c.near.Changed(key.Slot, key.Operation, "")
	return err
}

func (c *Client) about(
	ctx context.Context, most time.Duration, access access, key registry.Key, call func(context.Context) error,
) error {
	err := c.askWithin(ctx, most, access, key.Module, call)
	if err != nil && ctx.Err() == nil {
		c.failed(key.Module, key.Operation, err)
	}
	return err
}

func (c *Client) encode(value any) ([]byte, error) {
	payload, err := c.codec.Marshal(value)
	if err != nil {
		return nil, redact.New(fmt.Sprintf("%v: a %T cannot be encoded by %T", ErrCodec, value, c.codec), ErrCodec, err)
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
	message := fmt.Sprintf("%v: a stored entry cannot be decoded by %T into a %T: it was made of another type", ErrCodec, c.codec, out)
	c.failed(key.Module, key.Operation, redact.New(message, ErrCodec, err))
	return false
}
