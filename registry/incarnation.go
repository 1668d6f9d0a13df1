// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Incarnation names one life of a server's data: the process that holds it (its run id) and the history that it is of
// (its replication id). While it stays the same, nothing that was written is lost. Where it changes, an older state may
// have come back: by a restart with a snapshot, or by the promotion of a replica that lagged.
type Incarnation string

// Incarnation of the data that a primary holds; empty: it does not say.
func (p Primary) Incarnation() Incarnation {
	if p.RunID == "" && p.ReplicationID == "" {
		return ""
	}
	return Incarnation(p.RunID + "/" + p.ReplicationID)
}

// Fence says whether what a slot held before the present incarnation of its data has been invalidated.
type Fence struct {
	Slot

	// Incarnation that serves the slot.
	Incarnation Incarnation
	// InPlace says that the slot was fenced in this incarnation: nothing that an older state brought back is live.
	InPlace bool
	// Covered by the call of Fence that put it in place.
	Covered Invalidated
}

const (
	// fenceBatch is the number of slots in one pipeline, which others wait for.
	fenceBatch = 50
	// fenceMemory is how long a fence is known to be in place since somebody last looked. After that, the slot may be
	// fenced once more, which costs misses.
	fenceMemory = 30 * 24 * time.Hour
	// fenceMark is what the library answers to a fence that is in place: no keys, none pending.
	fenceMark = "0 0"
)

func fenceRequest(incarnation Incarnation) string { return "fence/" + string(incarnation) }

// Fences looks at the fences of slots, in their order, in few round trips for each primary. Its user must be allowed INFO.
// SlotErrors are of slots where it could not look.
func (r *Registry) Fences(ctx context.Context, slots []Slot) ([]Fence, error) {
	fences := make([]Fence, len(slots))
	for i, slot := range slots {
		fences[i].Slot = slot
	}
	err := r.eachPrimary(ctx, fences, func(ctx context.Context, conn *redis.Conn, present Incarnation, fences []*Fence) error {
		replies, err := pipelined(ctx, conn, fences, func(pipe redis.Pipeliner, fence *Fence) *redis.StringCmd {
			return pipe.GetEx(ctx, fence.requestKey(fenceRequest(present)), fenceMemory)
		})
		if err != nil {
			return err
		}
		broken := SlotErrors{}
		for i, reply := range replies {
			fences[i].Incarnation, fences[i].InPlace = present, reply.Err() == nil
			if isWrongType(reply.Err()) {
				continue // that is no fence: one is yet to be put in its place
			}
			if err := fenceError(reply, fences[i].Slot); err != nil {
				broken[fences[i].Slot] = err
			}
		}
		return broken.OrNil()
	})
	return fences, err
}

// Fence invalidates the modules of fences, once in an incarnation however many call it, and notes in each that it is in
// place and what it covered. It fails with ErrUnreachable, and is to be tried again from Fences on, where another
// incarnation serves a slot by now. SlotErrors are of slots where it is not in place.
func (r *Registry) Fence(ctx context.Context, fences []Fence) error {
	return r.withLibrary(ctx, func() error { return r.fence(ctx, fences) })
}

func (r *Registry) fence(ctx context.Context, fences []Fence) error {
	return r.eachPrimary(ctx, fences, func(ctx context.Context, conn *redis.Conn, present Incarnation, fences []*Fence) error {
		if err := wantPresent(present, fences); err != nil {
			return err
		}
		request := fenceRequest(present)
		replies, err := pipelined(ctx, conn, fences, func(pipe redis.Pipeliner, fence *Fence) *redis.Cmd {
			call := pipe.FCall(ctx, "cw_invalidate", []string{fence.key()}, "", "", string(ModeHard), request)
			pipe.PExpire(ctx, fence.requestKey(request), fenceMemory)
			return call
		})
		if err != nil {
			return err
		}
		broken := SlotErrors{}
		for i, reply := range replies {
			if err := fences[i].cover(reply); err != nil {
				broken[fences[i].Slot] = err
			}
		}
		return broken.OrNil()
	})
}

// cover notes what the call that put the fence in place answered.
func (f *Fence) cover(reply *redis.Cmd) error {
	if err := fenceError(reply, f.Slot); err != nil {
		return err
	}
	keys, pending, err := pair("cw_invalidate", f.Slot, reply.Val())
	if err != nil {
		return err
	}
	f.InPlace, f.Covered = true, Invalidated{Keys: keys, Pending: pending}
	return nil
}

// MarkFenced takes note that what an older state brought back is invalidated otherwise, or that there can be nothing:
// from now on the fences are in place. Errors are as those of Fence.
func (r *Registry) MarkFenced(ctx context.Context, fences []Fence) error {
	return r.eachPrimary(ctx, fences, func(ctx context.Context, conn *redis.Conn, present Incarnation, fences []*Fence) error {
		if err := wantPresent(present, fences); err != nil {
			return err
		}
		replies, err := pipelined(ctx, conn, fences, func(pipe redis.Pipeliner, fence *Fence) *redis.StatusCmd {
			return pipe.Set(ctx, fence.requestKey(fenceRequest(present)), fenceMark, fenceMemory)
		})
		if err != nil {
			return err
		}
		broken := SlotErrors{}
		for i, reply := range replies {
			if err := fenceError(reply, fences[i].Slot); err != nil {
				broken[fences[i].Slot] = err
			}
		}
		return broken.OrNil()
	})
}

func wantPresent(present Incarnation, fences []*Fence) error {
	for _, fence := range fences {
		if fence.Incarnation != present {
			return fmt.Errorf("fencing %s: %w: another server, or another state of its data, has come in between", fence.Slot, ErrUnreachable)
		}
	}
	return nil
}

// eachPrimary hands each primary's slots to fn, in batches, with one connection and the incarnation that answers on it:
// whatever is asked on that connection, nobody else answers. A primary that fails holds up no other.
func (r *Registry) eachPrimary(
	ctx context.Context, fences []Fence, fn func(context.Context, *redis.Conn, Incarnation, []*Fence) error,
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
	ctx context.Context, node *redis.Client, fences []*Fence, fn func(context.Context, *redis.Conn, Incarnation, []*Fence) error,
) SlotErrors {
	conn := node.Conn()
	defer func() { _ = conn.Close() }()
	broken := SlotErrors{}
	var present Incarnation
	err := contained(func() (err error) {
		present, err = IncarnationOf(ctx, conn)
		return err
	})
	for batch := range slices.Chunk(fences, fenceBatch) {
		if err == nil {
			err = broken.Take(contained(func() error { return fn(ctx, conn, present, batch) }))
		}
		if err != nil { // the connection is of no more use
			for _, fence := range batch {
				broken[fence.Slot] = err
			}
		}
	}
	return broken
}

func (r *Registry) primariesOf(ctx context.Context, fences []Fence) (map[*redis.Client][]*Fence, error) {
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

// pipelined makes a call for each fence in one round trip. Each reply has an error of its own.
func pipelined[C redis.Cmder](
	ctx context.Context, conn *redis.Conn, fences []*Fence, call func(redis.Pipeliner, *Fence) C,
) ([]C, error) {
	replies := make([]C, len(fences))
	err := unsent(conn.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, fence := range fences {
			replies[i] = call(pipe, fence)
		}
		return nil
	}))
	if err != nil {
		return nil, classified("asking for fences", err)
	}
	return replies, nil
}

// fenceError returns what went wrong with a call about a fence. A missing key is no error.
func fenceError(reply redis.Cmder, slot Slot) error {
	switch err := reply.Err(); {
	case err == nil || errors.Is(err, redis.Nil):
		return nil
	case isFunctionMissing(err):
		return noLibrary(reply.Name(), slot)
	default:
		return callError(reply.Name(), slot, err)
	}
}
