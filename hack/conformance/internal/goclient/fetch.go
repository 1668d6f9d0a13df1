// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package goclient

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/registry"
)

// load is a call of the loader, which waits for what the runner gives it.
type load struct{ given chan given }

// given is what a loader returns.
type given struct {
	payload []byte
	err     error
}

// fetched is what a caller gets.
type fetched struct {
	payload []byte
	err     error
}

func (f fetched) answer() (answer, error) {
	if errors.Is(f.err, cache.ErrNotFound) {
		return answer{"payload": nil}, nil
	}
	return answer{"payload": driver.Bytes(f.payload)}, f.err
}

func (r request) key() cache.Key {
	key := cache.Key{Module: r.Module, Operation: string(r.Operation), User: string(r.User)}
	if r.Params != nil {
		key.Params = json.RawMessage(*r.Params)
	}
	return key
}

func (r request) scope() cache.Scope {
	return cache.Scope{Module: r.Module, Operation: string(r.Operation), User: string(r.User)}
}

// fetch reads an entry. It answers when that is there, or when its loader waits.
func (c *client) fetch(r request) (answer, error) {
	if r.Params == nil {
		return nil, driver.Unsupported("package cache makes ids of params")
	}
	result, ctx, loads := make(chan fetched, 1), c.ctx, c.loads
	loader := func(ctx context.Context) ([]byte, error) {
		if r.TTLMs != 0 {
			cache.LimitTTL(ctx, r.ttl())
		}
		return await(ctx, loads)
	}
	go func() {
		payload, err := cache.Fetch(ctx, c.cache, r.key(), loader)
		result <- fetched{payload: payload, err: err}
	}()
	select {
	case f := <-result:
		return f.answer()
	case c.load = <-loads:
		c.result = result
		return answer{"loading": true}, nil
	}
}

// await is a loader that returns what the runner gives it.
func await(ctx context.Context, loads chan<- *load) ([]byte, error) {
	l := &load{given: make(chan given, 1)}
	select {
	case loads <- l:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case g := <-l.given:
		return g.payload, g.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// waiting answers when a loader waits.
func (c *client) waiting(ctx context.Context, _ request) error {
	if c.load != nil {
		return nil
	}
	select {
	case c.load = <-c.loads:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// loaded lets the loader return that waits, or the next one in the background.
func (c *client) loaded(ctx context.Context, r request) (answer, error) {
	if err := c.waiting(ctx, r); err != nil {
		return nil, err
	}
	var g given
	switch {
	case r.Error != "":
		g.err = errors.New(r.Error)
	case r.Payload == nil:
		g.err = cache.ErrNotFound
	default:
		g.payload = []byte(*r.Payload)
	}
	c.load.given <- g
	c.load = nil
	if c.result == nil {
		return nil, nil
	}
	f := <-c.result
	c.result = nil
	return f.answer()
}

func (c *client) put(ctx context.Context, r request) error {
	if r.TTLMs == 0 {
		return c.cache.Set(ctx, r.key(), []byte(*r.Payload))
	}
	id, err := cache.ID(json.RawMessage(*r.Params)) // package cache has no TTL of one Set
	if err != nil {
		return err
	}
	key := registry.Key{
		Slot: c.slot(r.Module), Operation: string(r.Operation), ID: id, User: string(r.User),
	}
	_, err = c.registry.Put(ctx, key, []byte(*r.Payload), registry.FillOptions{TTL: r.ttl()})
	return err
}

func (r request) ttl() time.Duration { return time.Duration(r.TTLMs) * time.Millisecond }

func (c *client) delete(ctx context.Context, r request) error {
	return c.cache.Delete(ctx, r.key())
}

func (c *client) invalidate(ctx context.Context, r request) error {
	switch scope := r.scope(); {
	case r.Soft:
		return c.cache.InvalidateSoftly(ctx, scope)
	case scope.Operation == "" && scope.User == "":
		return c.cache.InvalidateModule(ctx, r.Module)
	case scope.User == "":
		return c.cache.InvalidateOperation(ctx, r.Module, scope.Operation)
	case scope.Operation == "":
		return c.cache.InvalidateUser(ctx, scope.User, r.Module)
	default: // package cache has no such method
		_, err := c.registry.Invalidate(ctx, c.slot(r.Module),
			registry.Scope{Operation: scope.Operation, User: scope.User}, registry.ModeHard, "")
		return err
	}
}
