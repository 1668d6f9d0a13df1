// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fence keeps a process from reading what an older state of Redis brought back.
//
// A Guard has the server behind each connection name its incarnation before anything else is asked on that connection.
// Each time one comes that was not there before, no module may be read until its fence was found, or put, in place in
// the incarnation that serves it. A read that was under way meanwhile counts for nothing: it may have gone to either.
package fence

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	"github.com/cachewright/cachewright/internal/respguard"
	"github.com/cachewright/cachewright/registry"
)

// ErrUnfenced says that Redis may have lost invalidations of a module, and is not known to be rid of what they covered.
var ErrUnfenced = errors.New("redis was restarted, failed over or resharded, and the module is not fenced yet; it is loaded from the source")

const (
	// lookTimeout bounds a look at a fence, however little time the caller has who asked first.
	lookTimeout = 2 * time.Second
	// looks at the fence of a module, until no new incarnation came in between.
	looks = 4
	// maxStates of slots that are remembered. With more, each is looked at again.
	maxStates = 1000
)

// Guard watches the connections of one client of Redis.
type Guard struct {
	fences Fences
	// wait is how long somebody else is given to fence a module.
	wait    time.Duration
	cluster *redis.ClusterClient // nil: no cluster

	// generation is raised each time that a read may be answered by another incarnation than those before.
	generation atomic.Uint64
	replicas   atomic.Int64 // how many connections are to replicas
	blind      atomic.Bool  // a command that it needs is not allowed, or does not say enough
	states     atomic.Pointer[map[registry.Slot]*state]
	flights    singleflight.Group

	tell func(error)

	mu      sync.Mutex
	present map[string]registry.Incarnation // by the address of the node
	past    map[registry.Incarnation]struct{}
	watched map[weak.Pointer[redis.Client]]struct{} // weak: those of nodes that are gone are gone, too
}

// Fences is what a Guard needs of the registry.
type Fences interface {
	Fences(ctx context.Context, slots []registry.Slot) ([]registry.Fence, error)
	Fence(ctx context.Context, fences []registry.Fence) error
}

// state is what is known of a slot.
type state struct {
	clean atomic.Pointer[clean] // nil: it was never seen to be

	// unfencedSince is when it was first seen not to be fenced, the zero time when it is. Guarded by Guard.mu.
	unfencedSince time.Time
}

// clean says that a slot was fenced while this generation was the present one and this node served it. The node's client
// is watched.
type clean struct {
	generation uint64
	node       *redis.Client // nil: no cluster
}

// Pass is leave to read a slot. It holds until another incarnation may have answered.
type Pass struct {
	clean *clean
	slot  registry.Slot
}

// New returns a Guard of a client's connections: those of a *redis.Client, or of a *redis.ClusterClient. Others are not
// watched. tell is called when the server does not say who it is.
func New(client redis.UniversalClient, fences Fences, wait time.Duration, tell func(error)) *Guard {
	g := &Guard{
		fences: fences, wait: wait, tell: tell,
		present: map[string]registry.Incarnation{},
		past:    map[registry.Incarnation]struct{}{},
		watched: map[weak.Pointer[redis.Client]]struct{}{},
	}
	g.states.Store(&map[registry.Slot]*state{})
	switch client := client.(type) {
	case *redis.Client:
		g.watch(client)
	case *redis.ClusterClient:
		g.cluster = client
		client.OnNewNode(g.watch)
		respguard.WatchCluster(client)
	default:
		g.blind.Store(true)
	}
	return g
}

// Generation is another each time that a read may be answered by another incarnation than those before.
func (g *Guard) Generation() uint64 { return g.generation.Load() }

// ReadsReplicas says whether connections are to replicas, as where an address leads to a primary and its replica in turns.
func (g *Guard) ReadsReplicas() bool { return g.replicas.Load() > 0 }

// Enter waits until a slot may be read. ErrUnfenced: it may not, for now.
func (g *Guard) Enter(ctx context.Context, slot registry.Slot) (Pass, error) {
	if g.blind.Load() {
		return Pass{}, nil
	}
	node, err := g.node(ctx, slot)
	if err != nil {
		return Pass{}, err
	}
	if pass := g.passOf(slot); pass.clean != nil && pass.clean.node == node && g.generation.Load() == pass.clean.generation {
		return pass, nil
	}
	done := g.flights.DoChan(slot.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
		defer cancel()
		return nil, contained(func() error { return g.settle(ctx, slot) })
	})
	select {
	case result := <-done:
		if result.Err != nil {
			return Pass{}, result.Err
		}
		return g.passOf(slot), nil
	case <-ctx.Done():
		return Pass{}, unanswered(slot, ctx.Err())
	}
}

// Holds says whether what was read since Enter was answered by an incarnation in which the slot is fenced.
func (g *Guard) Holds(ctx context.Context, pass Pass) bool {
	if pass.clean == nil || g.blind.Load() {
		return g.blind.Load()
	}
	node, err := g.node(ctx, pass.slot)
	return err == nil && node == pass.clean.node && g.generation.Load() == pass.clean.generation
}

func unanswered(slot registry.Slot, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("looking whether %s is fenced: %w: %w", slot, registry.ErrUnreachable, err)
}

func (g *Guard) passOf(slot registry.Slot) Pass {
	if state, known := (*g.states.Load())[slot]; known {
		return Pass{clean: state.clean.Load(), slot: slot}
	}
	return Pass{}
}

// settle looks at the fence of a slot, and puts it in place, until no other incarnation came in between.
func (g *Guard) settle(ctx context.Context, slot registry.Slot) error {
	for range looks {
		generation := g.generation.Load()
		node, err := g.node(ctx, slot)
		if err != nil {
			return err
		}
		if node != nil {
			g.watch(node)
		}
		fences, err := g.fences.Fences(ctx, []registry.Slot{slot})
		if errors.Is(err, registry.ErrUnauthorized) || errors.Is(err, registry.ErrAnonymous) {
			g.blindedBy(err)
			return nil
		}
		if err != nil {
			return err
		}
		if err := g.note(addrOf(node), fences[0].Incarnation, false); err != nil {
			return err
		}
		if !fences[0].InPlace {
			if err := g.fence(ctx, slot, fences); err != nil {
				return err
			}
		}
		if g.keep(slot, &clean{generation: generation, node: node}) {
			return nil
		}
	}
	return ErrUnfenced
}

// fence leaves others the time to do it first.
func (g *Guard) fence(ctx context.Context, slot registry.Slot, fences []registry.Fence) error {
	if g.wait > 0 && time.Since(g.unfencedSince(slot)) < g.wait {
		return ErrUnfenced
	}
	return g.fences.Fence(ctx, fences)
}

func (g *Guard) unfencedSince(slot registry.Slot) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	state := g.stateOf(slot)
	if state.unfencedSince.IsZero() {
		state.unfencedSince = time.Now()
	}
	return state.unfencedSince
}

// keep takes note that a slot is clean, if it still is.
func (g *Guard) keep(slot registry.Slot, found *clean) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.generation.Load() != found.generation {
		return false
	}
	state := g.stateOf(slot)
	state.unfencedSince = time.Time{}
	state.clean.Store(found)
	return true
}

// stateOf requires g.mu. Readers use the map meanwhile, so it is replaced, not changed; there are few slots.
func (g *Guard) stateOf(slot registry.Slot) *state {
	states := *g.states.Load()
	if found, known := states[slot]; known {
		return found
	}
	if len(states) >= maxStates {
		states = map[registry.Slot]*state{}
	}
	states = maps.Clone(states)
	states[slot] = &state{}
	g.states.Store(&states)
	return states[slot]
}

// node returns the client of the node that serves a slot, as far as is known; nil where there is no cluster. Each hit asks
// for it, so it takes no lock.
func (g *Guard) node(ctx context.Context, slot registry.Slot) (*redis.Client, error) {
	if g.cluster == nil {
		return nil, nil //nolint:nilnil // one server needs no telling apart
	}
	node, err := g.cluster.MasterForKey(ctx, "{"+slot.String()+"}")
	if err != nil {
		return nil, fmt.Errorf("finding the primary of %s: %w: %w", slot, registry.ErrUnreachable, err)
	}
	return node, nil
}

func addrOf(node *redis.Client) string {
	if node == nil {
		return ""
	}
	return node.Options().Addr
}

// presentKept bounds the nodes whose incarnation is known. Those that are gone do not tell.
const presentKept = 1024

// pastKept bounds the incarnations that are remembered to be over.
const pastKept = 64

// note takes note of the incarnation behind a connection to a node. One that was there before the present one comes
// back with a new connection only; on an old one it is a server that others have left behind.
func (g *Guard) note(node string, incarnation registry.Incarnation, connected bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	before, known := g.present[node]
	if before == incarnation {
		return nil
	}
	if _, over := g.past[incarnation]; over && !connected {
		return fmt.Errorf("%w: there are connections to two servers", ErrUnfenced)
	}
	if known {
		if len(g.past) >= pastKept {
			clear(g.past)
		}
		g.past[before] = struct{}{}
	}
	delete(g.past, incarnation)
	if !known && len(g.present) >= presentKept {
		clear(g.present)
	}
	g.present[node] = incarnation
	g.generation.Add(1)
	return nil
}
