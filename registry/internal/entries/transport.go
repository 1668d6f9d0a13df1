// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/mget"
)

// pipelineQueue bounds the calls that wait to be sent, and so the memory they take if Redis does
// not answer. Further calls fail with ErrUnreachable.
const pipelineQueue = 10_000

// transport takes commands to Redis, alone or together with those of other callers.
type transport struct {
	client redis.UniversalClient
	// pipeline of calls of several goroutines; nil: each call has its own connection.
	pipeline *redis.AutoPipeliner
	// batches of reads; nil: each read is its own command.
	batches *mget.Batches
}

// NewPipelined returns entries whose calls share a pipeline. With fullDuplex it sends without
// waiting for replies. Otherwise the reads of a module are one MGET on a connection of the pool.
func NewPipelined(lib *library.Library, fullDuplex bool) (*Entries, error) {
	client := lib.Client()
	if err := checkPipelined(client); err != nil {
		return nil, err
	}
	pipelining, _ := client.(interface {
		AsyncAutoPipelineWithOptions(options *redis.AutoPipelineOptions) (*redis.AutoPipeliner, error)
	})
	options := redis.DefaultAutoPipelineOptions()
	options.MaxQueuedCommands = pipelineQueue
	options.FullDuplex = fullDuplex
	// Each caller waits for its own call, so order does not matter. But full duplex assigns replies by
	// order.
	options.Unordered = !fullDuplex
	pipeline, err := pipelining.AsyncAutoPipelineWithOptions(options)
	if err != nil {
		return nil, fmt.Errorf("automatic pipelining: %w", err)
	}
	e := New(lib)
	e.transport.pipeline = pipeline
	if !fullDuplex {
		e.transport.batches = mget.NewBatches(client)
	}
	return e, nil
}

func checkPipelined(client redis.UniversalClient) error {
	switch client := client.(type) {
	case *redis.Client:
		return checkReadTimeout(client.Options().ReadTimeout > 0)
	case *redis.ClusterClient:
		return checkReadTimeout(client.Options().ReadTimeout > 0)
	default:
		return fmt.Errorf(
			"%w: automatic pipelining needs a *redis.Client or a *redis.ClusterClient, not a %T",
			fault.ErrUnsupported, client)
	}
}

func checkReadTimeout(isSet bool) error {
	if !isSet {
		return errors.New("automatic pipelining: set ReadTimeout in the options of the Redis client: " +
			"one connection that hangs would block all callers")
	}
	return nil
}

// read returns the values of an entry's read keys. It may overwrite the keys with the values.
func (t *transport) read(
	ctx context.Context, slot keyspace.Slot, keys []string,
) ([]string, error) {
	if t.batches != nil {
		return t.batches.Read(ctx, slot, keys)
	}
	return mget.Get(ctx, t.process, keys)
}

// process sends a command together with those of other callers, if there is a pipeline. After an
// error of the context, the command must not be read: it may still be in progress.
func (t *transport) process(ctx context.Context, cmd redis.Cmder) error {
	if t.pipeline == nil {
		return t.client.Process(ctx, cmd)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.pipeline.Submit(ctx, cmd).WaitContext(ctx)
}
