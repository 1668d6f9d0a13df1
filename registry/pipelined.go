// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/entries"
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
	r := New(client)
	pipelined, err := entries.NewPipelined(r.library, duplex == FullDuplex)
	if err != nil {
		return nil, err
	}
	r.entries = pipelined
	return r, nil
}
