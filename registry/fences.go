// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

// Fence says whether the content of a slot from before the current incarnation of its data has been
// invalidated.
type Fence struct {
	Slot

	// Incarnation that serves the slot.
	Incarnation Incarnation
	// InPlace says that the slot was fenced in this incarnation: nothing that came back with an older
	// state is live.
	InPlace bool
	// Covered by the call of Registry.Fence that put the fence in place.
	Covered Invalidated
}

const (
	// fenceBatch is the number of slots in one pipeline, during which other clients wait.
	fenceBatch = 50
	// fenceMemory is how long a fence is remembered after it was last read. Later, the slot may be
	// fenced once more, which costs misses.
	fenceMemory = 30 * 24 * time.Hour
	// fenceMark is the library's answer to a fence that is in place: no keys, none pending.
	fenceMark = "0 0"

	fencing = "fencing" // in errors
)

func fenceRequest(incarnation Incarnation) string { return "fence/" + string(incarnation) }

// Fences reads the fences of slots, in their order, in few round trips per primary. Its user needs
// INFO. SlotErrors are of slots whose fences could not be read.
func (r *Registry) Fences(ctx context.Context, slots []Slot) ([]Fence, error) {
	fences := make([]Fence, len(slots))
	for i, slot := range slots {
		fences[i].Slot = slot
	}
	err := r.eachPrimary(ctx, fences, func(ctx context.Context, conn *redis.Conn, current Incarnation,
		fences []*Fence,
	) error {
		return onFences(ctx, conn, fencing, fences, func(
			pipe redis.Pipeliner, fence *Fence,
		) *redis.StringCmd {
			return pipe.GetEx(ctx, fence.requestKey(fenceRequest(current)), fenceMemory)
		}, func(fence *Fence, reply *redis.StringCmd) error {
			fence.Incarnation, fence.InPlace = current, reply.Err() == nil
			if fault.IsWrongType(reply.Err()) {
				return nil // not a fence; putting one in place replaces it
			}
			return callFailure(reply.Name(), fence.Slot, reply.Err())
		})
	})
	return fences, err
}

// Fence invalidates the modules of fences, once per incarnation however many callers there are. It
// records in each that it is in place and what it covered. If another incarnation serves a slot by
// now, it fails with ErrUnreachable; retry from Fences. SlotErrors are of slots whose fence is not
// in place.
func (r *Registry) Fence(ctx context.Context, fences []Fence) error {
	return r.withLibrary(ctx, func() error { return r.fence(ctx, fences) })
}

func (r *Registry) fence(ctx context.Context, fences []Fence) error {
	return r.eachPrimary(ctx, fences, func(ctx context.Context, conn *redis.Conn, current Incarnation,
		fences []*Fence,
	) error {
		if err := requireCurrent(fencing, current, fences); err != nil {
			return err
		}
		request := fenceRequest(current)
		return onFences(ctx, conn, fencing, fences, func(pipe redis.Pipeliner, fence *Fence) *redis.Cmd {
			call := pipe.FCall(ctx, "cw_invalidate", []string{fence.key()}, "", "", string(ModeHard),
				request)
			pipe.PExpire(ctx, fence.requestKey(request), fenceMemory)
			return call
		}, (*Fence).record)
	})
}

// record takes over the answer of the call that put the fence in place.
func (f *Fence) record(reply *redis.Cmd) error {
	if err := callFailure(reply.Name(), f.Slot, reply.Err()); err != nil {
		return err
	}
	keys, pending, err := pair("cw_invalidate", f.Slot, reply.Val())
	if err != nil {
		return err
	}
	f.InPlace, f.Covered = true, Invalidated{Keys: keys, Pending: pending}
	return nil
}

// MarkFenced records that the fences are in place: the content that came back was invalidated
// otherwise, or there can be none. Errors are as those of Fence.
func (r *Registry) MarkFenced(ctx context.Context, fences []Fence) error {
	return r.eachPrimary(ctx, fences, func(ctx context.Context, conn *redis.Conn, current Incarnation,
		fences []*Fence,
	) error {
		if err := requireCurrent(fencing, current, fences); err != nil {
			return err
		}
		return onFences(ctx, conn, fencing, fences, func(
			pipe redis.Pipeliner, fence *Fence,
		) *redis.StatusCmd {
			return pipe.Set(ctx, fence.requestKey(fenceRequest(current)), fenceMark, fenceMemory)
		}, func(fence *Fence, reply *redis.StatusCmd) error {
			return callFailure(reply.Name(), fence.Slot, reply.Err())
		})
	})
}

func requireCurrent(what string, current Incarnation, fences []*Fence) error {
	for _, fence := range fences {
		if fence.Incarnation != current {
			return fmt.Errorf(
				"%s of %s: %w: meanwhile another server, or another state of its data, serves it", what,
				fence.Slot, ErrUnreachable)
		}
	}
	return nil
}

// eachPrimary passes each primary's slots to fn, in batches, with one connection and the
// incarnation behind it. Nobody else answers on that connection. Primaries are handled
// concurrently, so one that fails does not delay others.
func (r *Registry) eachPrimary(
	ctx context.Context, fences []Fence, fn func(context.Context, *redis.Conn, Incarnation,
		[]*Fence) error,
) error {
	nodes, err := r.primariesOf(ctx, fences)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	broken := SlotErrors{}
	for node, fences := range nodes {
		group.Go(func() {
			found := onPrimary(ctx, node, fences, fn)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(broken, found)
		})
	}
	group.Wait()
	return broken.of(len(fences))
}

func onPrimary(
	ctx context.Context, node *redis.Client, fences []*Fence, fn func(context.Context, *redis.Conn,
		Incarnation, []*Fence) error,
) SlotErrors {
	conn := node.Conn()
	defer func() { _ = conn.Close() }()
	broken := SlotErrors{}
	var current Incarnation
	err := fault.Contain(func() (err error) {
		current, err = IncarnationOf(ctx, conn)
		return err
	})
	for batch := range slices.Chunk(fences, fenceBatch) {
		if err == nil {
			err = broken.Take(fault.Contain(func() error { return fn(ctx, conn, current, batch) }))
		}
		if err != nil { // the connection is no longer usable
			for _, fence := range batch {
				broken[fence.Slot] = err
			}
		}
	}
	return broken
}

func (r *Registry) primariesOf(
	ctx context.Context, fences []Fence,
) (map[*redis.Client][]*Fence, error) {
	nodes := map[*redis.Client][]*Fence{}
	for i := range fences {
		node, err := r.primaryOf(ctx, fences[i].Slot)
		if err != nil {
			return nil, err
		}
		nodes[node] = append(nodes[node], &fences[i])
	}
	return nodes, nil
}

func (r *Registry) primaryOf(ctx context.Context, slot Slot) (*redis.Client, error) {
	switch client := r.client.(type) {
	case *redis.ClusterClient:
		node, err := client.MasterForKey(ctx, slot.key())
		if err != nil {
			return nil, callError("finding the primary", slot, err)
		}
		return node, nil
	case *redis.Client:
		return client, nil
	default:
		return nil, unsupportedClient(client)
	}
}

// onFences sends a command for each fence in one round trip, and passes the replies to receive.
func onFences[C redis.Cmder](
	ctx context.Context, conn *redis.Conn, what string, fences []*Fence,
	send func(redis.Pipeliner, *Fence) C, receive func(*Fence, C) error,
) error {
	broken, err := pipelined(ctx, conn, what, fences, send, func(i int, reply C) error {
		return receive(fences[i], reply)
	})
	if err != nil {
		return err
	}
	return broken.OrNil()
}
