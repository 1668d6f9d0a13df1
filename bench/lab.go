// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// lab has the servers of one comparison: one for each subject, with the same configuration.
type lab struct {
	dir     string
	closers []func()
	// clocks are the clients that read the CPU time of the servers.
	clocks []*redis.Client
}

func newLab() (*lab, error) {
	dir, err := os.MkdirTemp("", "cachewright-bench-")
	if err != nil {
		return nil, err
	}
	return &lab{dir: dir}, nil
}

// close closes clients and servers, the last one first.
func (l *lab) close() {
	for i := len(l.closers) - 1; i >= 0; i-- {
		l.closers[i]()
	}
	_ = os.RemoveAll(l.dir)
}

func (l *lab) onClose(fn func()) { l.closers = append(l.closers, fn) }

func (l *lab) server(ctx context.Context) (*redistest.Server, error) {
	dir := filepath.Join(l.dir, strconv.Itoa(len(l.closers)))
	// Log calls of more than a millisecond: the log has the duration without the network.
	server, err := redistest.Run(ctx, dir, 0, "--slowlog-log-slower-than", "1000", "--slowlog-max-len",
		"1024")
	if err != nil {
		return nil, err
	}
	l.onClose(server.Kill)
	l.clocks = append(l.clocks, l.client(server))
	return server, nil
}

// client returns a client with a connection for each goroutine, so that none waits for another.
func (l *lab) client(server *redistest.Server) *redis.Client { return l.clientAt(server.Addr()) }

func (l *lab) clientAt(addr string) *redis.Client {
	client := redis.NewClient(&redis.Options{
		Addr:                     addr,
		PoolSize:                 maxGoroutines,
		ContextTimeoutEnabled:    true,
		ReadTimeout:              time.Minute,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	l.onClose(func() { _ = client.Close() })
	return client
}

// freshClient returns a client of a new server.
func (l *lab) freshClient(ctx context.Context) (*redis.Client, error) {
	server, err := l.server(ctx)
	if err != nil {
		return nil, err
	}
	return l.client(server), nil
}

// pipelined returns a client that sends concurrent calls in one pipeline.
func pipelined(client *redis.Client) (*redis.AutoPipeliner, error) {
	return client.AutoPipelineWithOptions(autoPipelining())
}

var slot = registry.Slot{Namespace: "bench", Module: "items"}

const operation = "getById"

// install gives a server the function library and the policy everything.
func install(ctx context.Context, client *redis.Client) (*registry.Registry, error) {
	r := registry.New(client)
	if _, err := r.Install(ctx); err != nil {
		return nil, err
	}
	if _, err := r.ApplyPolicy(ctx, slot, everything()); err != nil {
		return nil, err
	}
	return r, nil
}

const entryTTL = time.Hour

// everything caches all operations for an hour. As usual, the measured operation has its own rule,
// and others use the default.
func everything() registry.Policy {
	return registry.Policy{
		DefaultTTL: new(entryTTL),
		Operations: []registry.OperationPolicy{{Name: operation, TTL: entryTTL}},
	}
}

func entry(operation, id string) registry.Key {
	return registry.Key{Slot: slot, Operation: operation, ID: id}
}

// leaseFor takes the token for fills of an operation.
func leaseFor(ctx context.Context, r *registry.Registry, operation string) (registry.Token, error) {
	lookup, err := r.Lease(ctx, entry(operation, "token"))
	if err != nil {
		return "", err
	}
	return lookup.Token, nil
}

func fill(
	ctx context.Context, r *registry.Registry, key registry.Key, payload []byte, token registry.Token,
) error {
	filled, err := r.Set(ctx, key, payload, token)
	if err != nil {
		return err
	}
	if filled.Outcome != registry.Stored {
		return fmt.Errorf("filling %s %s: %s", key.Operation, key.ID, filled.Outcome)
	}
	return nil
}

// fillMany fills a number of entries of an operation, as fast as it can.
func fillMany(
	ctx context.Context, client *redis.Client, operation string, count int, id func(int) string,
	payload []byte,
) error {
	pipe, err := pipelined(client)
	if err != nil {
		return err
	}
	r := registry.New(pipe)
	token, err := leaseFor(ctx, r, operation)
	if err != nil {
		return err
	}
	return spread(count, func(i int) error {
		return fill(ctx, r, entry(operation, id(i)), payload, token)
	})
}

// longID returns an id as long as those of package cache, because the index stores ids.
func longID(n int) string { return fmt.Sprintf("%024d", n) }

func id(n int) string { return "item-" + strconv.Itoa(n) }

// spread calls fn with 0 to count-1 from several goroutines, and returns one of the errors.
func spread(count int, fn func(i int) error) error {
	errs := make(chan error, maxGoroutines)
	for worker := range maxGoroutines {
		go func() {
			var err error
			for i := worker; i < count && err == nil; i += maxGoroutines {
				err = fn(i)
			}
			errs <- err
		}()
	}
	var first error
	for range maxGoroutines {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}
