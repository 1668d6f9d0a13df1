// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package goclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

// Times that suit a machine that is busy with other tests.
const (
	timeout = 3 * time.Second
	report  = 100 * time.Millisecond
)

func (c *client) open(ctx context.Context, r request) error {
	if err := c.close(); err != nil {
		return err
	}
	c.redis = redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: r.Addresses, IsClusterMode: r.Cluster, Protocol: r.RESP,
		Username: r.Username, Password: r.Password,
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: noMaintenance(),
	})
	c.registry = registry.New(c.redis)
	c.slot = func(module string) registry.Slot {
		return registry.Slot{Namespace: r.Namespace, Module: module}
	}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.loads, c.load, c.result = make(chan *load), nil, nil
	options := []cache.Option{
		cache.WithCodec(raw{}), cache.WithTimeout(timeout), cache.WithReportInterval(report),
		cache.WithLogger(slog.New(slog.DiscardHandler)),
	}
	if r.Schema != "" {
		options = append(options, cache.WithSchema(r.Schema))
	}
	if r.Near {
		options = append(options, cache.WithNearCache(cache.NearCache{}))
	}
	var err error
	c.cache, err = cache.New(c.redis, r.Namespace, options...)
	return err
}

// close ends what was opened, and its loads.
func (c *client) close() error {
	if c.redis == nil {
		return nil
	}
	c.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := errors.Join(c.cache.Close(ctx), c.redis.Close())
	c.redis = nil
	return err
}

// raw is a codec of values that are bytes already.
type raw struct{}

// Marshal implements cache.Codec.
func (raw) Marshal(value any) ([]byte, error) {
	payload, ok := value.([]byte)
	if !ok {
		return nil, fmt.Errorf("a %T is not bytes", value)
	}
	return bytes.Clone(payload), nil
}

// Unmarshal implements cache.Codec.
func (raw) Unmarshal(data []byte, dest any) error {
	payload, ok := dest.(*[]byte)
	if !ok {
		return fmt.Errorf("a %T does not take bytes", dest)
	}
	*payload = append([]byte{}, data...)
	return nil
}
