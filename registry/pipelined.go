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
	// HalfDuplex sends what was called while the last replies were on their way, in one go, reads of a module as one
	// command: the most calls a second where Redis is near.
	HalfDuplex Duplex = iota
	// FullDuplex sends without waiting for replies, which overlaps round trips: for a Redis that is far. It is less
	// than HalfDuplex where Redis is near.
	FullDuplex
)

// pipelineQueue bounds the calls that wait to be sent, and so the memory of a Redis that does not answer. Calls beyond
// are ErrUnreachable.
const pipelineQueue = 10_000

// NewPipelined returns a Registry that sends what many goroutines call at the same time in one go, on one connection
// of each primary: Read, Inspect, Lease, LeaseLocked, Set, SetNegative and Unlock. With HalfDuplex the reads of a module
// are one MGET instead, on a connection of the pool. All else it sends as New does. It pays with many goroutines, and
// costs latency with few.
//
// A call ends with its context, as ever; but the pipeline, or the reads of a module, stand still for as long as the
// client's ReadTimeout, and its retries, let a connection hang. So ReadTimeout must be set. A call that was given up may
// take effect later; that is as harmless as a reply that is lost. Pipelining ends with the client, which must be a
// *redis.Client or a *redis.ClusterClient.
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
	// Callers wait for their calls one by one, so no order is lost; but full duplex knows replies by theirs.
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
		return fmt.Errorf("%w: automatic pipelining needs a *redis.Client or a *redis.ClusterClient, not a %T", ErrUnsupported, client)
	}
}

func checkReadTimeout(isSet bool) error {
	if !isSet {
		return errors.New("automatic pipelining: set ReadTimeout in the options of the Redis client: one connection that hangs would hold up all callers")
	}
	return nil
}

// processTogether sends a command along with those of other callers, where the Registry pipelines. After an error that is
// the context's the command must not be looked at: it may be under way.
func (r *Registry) processTogether(ctx context.Context, cmd redis.Cmder) error {
	if r.pipeline == nil {
		return r.client.Process(ctx, cmd)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.pipeline.Submit(ctx, cmd).WaitContext(ctx)
}
