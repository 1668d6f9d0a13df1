// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

// Slot is one module of one namespace. All its keys sit on one node of a Redis Cluster, and each
// call on it is atomic. Both names consist of 1 to 63 letters, digits, '.', '_' and '-'; the
// library refuses others.
type Slot struct {
	Namespace string
	Module    string
}

// String returns "namespace/module".
func (s Slot) String() string { return s.Namespace + "/" + s.Module }

// Key addresses one entry of a slot.
type Key struct {
	Slot

	// Operation of the module, 1 to 128 bytes.
	Operation string
	// ID names the parameters of the operation: any bytes, up to 1024.
	ID string
	// User whose entry it is: any bytes, up to 256. Empty: an entry shared by all users.
	User string
}

// Registry works on the slots of one Redis: a standalone server, one behind Sentinel, or a cluster.
// It is safe for concurrent use. It does not close the client.
//
// Errors of Redis, or of the connection to it, wrap one of the errors of this package:
// ErrUnreachable, ErrUnauthorized, ErrUnsupported, ErrRejected, ErrOutOfMemory, ErrMisbehaves or
// ErrUnexpected. Those of a context that the caller cancelled do not.
type Registry struct {
	client redis.UniversalClient
	// pipeline of calls of several goroutines; nil: each call has its own connection.
	pipeline *redis.AutoPipeliner
	// batches of reads; nil: each read is its own command.
	batches *readBatches

	// installing serialises loading the library, however many calls found it missing.
	installing sync.Mutex
}

// New returns a Registry over a client. Hooks of the client must not keep the arguments of a
// command after it ends: the memory of payloads is reused.
func New(client redis.UniversalClient) *Registry {
	return &Registry{client: client}
}

// call runs a function of the library on a slot. If the library is missing (a new node, a FUNCTION
// FLUSH), it loads the library first, if the client's user may.
func (r *Registry) call(ctx context.Context, function string, slot Slot, args ...any) (any, error) {
	return r.callBy(ctx, r.client.Process, function, slot, args)
}

// callTogether is call for what may share a pipeline with other callers.
func (r *Registry) callTogether(
	ctx context.Context, function string, slot Slot, args ...any,
) (any, error) {
	return r.callBy(ctx, r.processTogether, function, slot, args)
}

type processor func(context.Context, redis.Cmder) error

func (r *Registry) callBy(
	ctx context.Context, process processor, function string, slot Slot, args []any,
) (any, error) {
	reply, err := fcall(ctx, process, function, slot, args)
	if fault.IsFunctionMissing(err) {
		if err := r.installOnce(ctx); err != nil {
			return nil, err
		}
		reply, err = fcall(ctx, process, function, slot, args)
	}
	if err != nil {
		return nil, callError(function, slot, err)
	}
	return reply, nil
}

func fcall(
	ctx context.Context, process processor, function string, slot Slot, args []any,
) (any, error) {
	const keyPosition = 3
	all := make([]any, 0, keyPosition+1+len(args))
	all = append(all, "fcall", function, 1, slot.key())
	cmd := redis.NewCmd(ctx, append(all, args...)...)
	cmd.SetFirstKeyPos(keyPosition)
	if err := process(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.Val(), nil
}
