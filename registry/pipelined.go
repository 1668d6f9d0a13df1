// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Duplex says how automatic pipelining uses its connection.
type Duplex int

const (
	// HalfDuplex sends together what was called while the previous replies were outstanding, and the
	// reads of a module as one command. It has the highest throughput if Redis is near.
	HalfDuplex Duplex = iota
	// FullDuplex sends without waiting for replies, which overlaps round trips. It is for a Redis that
	// is far, and slower than HalfDuplex if Redis is near.
	FullDuplex
)

// pipelineQueue bounds the calls that wait to be sent, and so the memory they take if Redis does
// not answer. Further calls fail with ErrUnreachable.
const pipelineQueue = 10_000

// NewPipelined returns a Registry that pipelines concurrent calls of many goroutines on one
// connection per primary: Read, Inspect, Lease, LeaseLocked, Set, SetNegative and Unlock. With
// HalfDuplex, the reads of a module are one MGET on a connection of the pool instead. Other calls
// are as those of New. Pipelining helps with many goroutines, and costs latency with few.
//
// A call ends with its context. But the pipeline, or the reads of a module, block while a
// connection hangs, as long as the client's ReadTimeout and retries permit. So ReadTimeout must be
// set. A call that was given up may still take effect; that is as harmless as a lost reply.
// Pipelining ends with the client, which must be a *redis.Client or a *redis.ClusterClient.
func NewPipelined(client redis.UniversalClient, duplex Duplex) (*Registry, error) {
	if err := checkPipelined(client); err != nil {
		return nil, err
	}
	pipelining, _ := client.(interface {
		AsyncAutoPipelineWithOptions(options *redis.AutoPipelineOptions) (*redis.AutoPipeliner, error)
	})
	options := redis.DefaultAutoPipelineOptions()
	options.MaxQueuedCommands = pipelineQueue
	options.FullDuplex = duplex == FullDuplex
	// Each caller waits for its own call, so order does not matter. But full duplex assigns replies by
	// order.
	options.Unordered = duplex == HalfDuplex
	pipeline, err := pipelining.AsyncAutoPipelineWithOptions(options)
	if err != nil {
		return nil, fmt.Errorf("automatic pipelining: %w", err)
	}
	r := New(client)
	r.pipeline = pipeline
	if duplex == HalfDuplex {
		r.batches = newReadBatches(client)
	}
	return r, nil
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
			ErrUnsupported, client)
	}
}

func checkReadTimeout(isSet bool) error {
	if !isSet {
		return errors.New("automatic pipelining: set ReadTimeout in the options of the Redis client: " +
			"one connection that hangs would block all callers")
	}
	return nil
}

// processTogether sends a command together with those of other callers, if the Registry pipelines.
// After an error of the context, the command must not be read: it may still be in progress.
func (r *Registry) processTogether(ctx context.Context, cmd redis.Cmder) error {
	if r.pipeline == nil {
		return r.client.Process(ctx, cmd)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.pipeline.Submit(ctx, cmd).WaitContext(ctx)
}
