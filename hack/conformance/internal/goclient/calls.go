// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package goclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/registry"
)

func (c *client) hold(ctx context.Context, r request) error {
	var things []cache.Covered
	for _, thing := range r.Things {
		thing.Module = r.Module
		if thing.Params != nil {
			things = append(things, thing.key())
		} else {
			things = append(things, thing.scope())
		}
	}
	var err error
	c.held, err = c.cache.Hold(ctx, time.Duration(r.Ms)*time.Millisecond, things...)
	return err
}

func (c *client) release(ctx context.Context, _ request) error { return c.held.Release(ctx) }

// call makes a call as go-redis does.
func (c *client) call(ctx context.Context, r request) (answer, error) {
	keys, args := make([]string, len(r.Keys)), make([]any, len(r.Args))
	for i, key := range r.Keys {
		keys[i] = string(key)
	}
	for i, arg := range r.Args {
		args[i] = string(arg)
	}
	reply, err := c.redis.FCall(ctx, r.Function, keys, args...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	return answer{"reply": inJSON(reply)}, nil
}

// inJSON returns a reply with its strings in hex.
func inJSON(reply any) any {
	switch reply := reply.(type) {
	case string:
		return driver.Bytes(reply)
	case []any:
		list := make([]any, len(reply))
		for i, element := range reply {
			list[i] = inJSON(element)
		}
		return list
	default:
		return reply
	}
}

func noMaintenance() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// stub answers one MGET, and keeps its keys. It takes the place of a connection.
type stub struct {
	values []string
	keys   []driver.Bytes
}

// registryOver returns a Registry whose reads the stub answers.
func registryOver(s *stub) *registry.Registry {
	client := redis.NewClient(&redis.Options{
		Addr:                     "127.0.0.1:0", // it is never dialed
		MaintNotificationsConfig: noMaintenance(),
	})
	client.AddHook(s)
	return registry.New(client)
}

// DialHook implements redis.Hook.
func (s *stub) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (s *stub) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (s *stub) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		mget, ok := cmd.(*redis.StringSliceCmd)
		if !ok {
			return fmt.Errorf("a read is an MGET, not %s", cmd.Name())
		}
		for _, key := range mget.Args()[1:] {
			s.keys = append(s.keys, driver.Bytes(key.(string)))
		}
		mget.SetVal(append(s.values, make([]string, len(s.keys)-len(s.values))...))
		return nil
	}
}

func keysOf(ctx context.Context, r request) (answer, error) {
	s := &stub{}
	key := registry.Key{
		Slot:      registry.Slot{Namespace: r.Namespace, Module: r.Module},
		Operation: string(r.Operation), User: string(r.User), ID: string(r.ID),
	}
	_, err := registryOver(s).Read(ctx, key)
	return answer{"keys": s.keys}, err
}

func decode(ctx context.Context, r request) (answer, error) {
	s := &stub{}
	for _, value := range append([]*driver.Bytes{r.Value}, r.Heads...) {
		text := ""
		if value != nil {
			text = string(*value)
		}
		s.values = append(s.values, text)
	}
	key := registry.Key{
		Slot:      registry.Slot{Namespace: "vectors", Module: "m"},
		Operation: "op", ID: "id", Schema: r.Schema,
	}
	if len(r.Heads) == 3 {
		key.User = "user"
	}
	found, err := registryOver(s).Read(ctx, key)
	if err != nil || !found.Hit {
		return answer{"live": false}, err
	}
	return answer{
		"live": true, "payload": driver.Bytes(found.Payload),
		"negative": found.Negative, "stale": found.Stale,
	}, nil
}
