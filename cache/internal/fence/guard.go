// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fence keeps a process from reading what an older state of Redis brought back.
//
// On each new connection, a Guard asks the server for its incarnation before anything else is sent.
// When a new incarnation appears, each module needs a fence in the incarnation that serves it. It
// must not be read before that is in place. The result of a read that was under way meanwhile is
// not used: either incarnation may have answered it.
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

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/internal/respguard"
	"github.com/cachewright/cachewright/registry"
)

// ErrUnfenced says that Redis may have lost invalidations of a module, and may still hold what they
// covered.
var ErrUnfenced = errors.New("redis was restarted, failed over or resharded, " +
	"and the module is not fenced yet; it is loaded from the source")

const (
	// checkTimeout bounds a check of a fence, even if the caller that needs it first has less time.
	checkTimeout = 2 * time.Second
	// maxChecks of the fence of a module are made while new incarnations appear.
	maxChecks = 4
	// maxStates bounds the slots that are remembered. With more, all are checked again.
	maxStates = 1000
)

// Guard watches the connections of one client of Redis.
type Guard struct {
	fences Fences
	// wait is how long others may take to fence a module.
	wait    time.Duration
	cluster *redis.ClusterClient // nil: no cluster

	// generation is raised each time another incarnation may answer reads than before.
	generation atomic.Uint64
	replicas   atomic.Int64 // how many connections lead to replicas
	disabled   atomic.Bool  // a command that it needs is not allowed, or does not say enough
	states     atomic.Pointer[map[registry.Slot]*state]
	flights    singleflight.Group
	// oldLibrary is until when the library is not asked for its own call, because it lacks that.
	oldLibrary atomic.Int64

	report func(error)

	mu      sync.Mutex
	current map[string]registry.Incarnation // by the address of the node
	past    map[registry.Incarnation]struct{}
	watched map[weak.Pointer[redis.Client]]struct{} // weak, so that clients of former nodes are freed
}

// state is what is known of a slot.
type state struct {
	clean atomic.Pointer[clean] // nil: it was never known to be clean

	// unfencedSince is when it was first found without a fence, the zero time if it has one.
	// Guarded by Guard.mu.
	unfencedSince time.Time
}

// clean says that a slot was fenced while this generation was current and this node served it. The
// node's client is watched.
type clean struct {
	generation uint64
	node       *redis.Client // nil: no cluster
}

// Pass is the permission to read a slot. It holds until another incarnation may have answered.
type Pass struct {
	clean *clean
	slot  registry.Slot
}

// New returns a Guard of the connections of a *redis.Client or a *redis.ClusterClient. Those of
// other clients are not watched. It calls report when the server does not say who it is.
func New(
	client redis.UniversalClient, fences Fences, wait time.Duration, report func(error),
) *Guard {
	g := &Guard{
		fences: fences, wait: wait, report: report,
		current: map[string]registry.Incarnation{},
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
		g.disabled.Store(true)
	}
	return g
}

// disable stops the Guard: it needs INFO to know which server answers and, with an older library,
// GETEX to know whether a module is fenced.
func (g *Guard) disable(err error) {
	if g.disabled.Swap(true) {
		return
	}
	remedy := "allow its user INFO and GETEX (+info +getex), as docs/operations.md does"
	if errors.Is(err, registry.ErrAnonymous) && !errors.Is(err, registry.ErrUnauthorized) {
		remedy = "have the server answer INFO, under this name, with run_id or master_replid, " +
			"or invalidate the modules after a restart"
	}
	g.report(fmt.Errorf(
		"a restart of Redis with an old snapshot, or a failover to a replica that lags, "+
			"will not be noticed by this process: %s: %w", remedy, err))
}

// Generation changes each time another incarnation may answer reads than before.
func (g *Guard) Generation() uint64 { return g.generation.Load() }

// ReadsReplicas reports whether connections lead to replicas, for example because an address leads
// to a primary and its replica in turn.
func (g *Guard) ReadsReplicas() bool { return g.replicas.Load() > 0 }

// Enter waits until a slot may be read. ErrUnfenced: it must not be read for now.
func (g *Guard) Enter(ctx context.Context, slot registry.Slot) (Pass, error) {
	if g.disabled.Load() {
		return Pass{}, nil
	}
	node, err := g.node(ctx, slot)
	if err != nil {
		return Pass{}, err
	}
	if pass := g.passOf(slot); pass.clean != nil && g.isCurrent(pass.clean, node) {
		return pass, nil
	}
	done := g.flights.DoChan(slot.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
		defer cancel()
		// singleflight would panic on a goroutine where nobody can recover.
		ensure := func() error { return g.ensureFenced(ctx, slot) }
		return nil, contain.Call(registry.ErrMisbehaves, ensure)
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

// Holds reports whether an incarnation in which the slot is fenced answered all reads since Enter.
func (g *Guard) Holds(ctx context.Context, pass Pass) bool {
	if pass.clean == nil || g.disabled.Load() {
		return g.disabled.Load()
	}
	node, err := g.node(ctx, pass.slot)
	return err == nil && g.isCurrent(pass.clean, node)
}

func (g *Guard) isCurrent(found *clean, node *redis.Client) bool {
	return found.node == node && found.generation == g.generation.Load()
}

func unanswered(slot registry.Slot, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("checking the fence of %s: %w: %w", slot, registry.ErrUnreachable, err)
}

func (g *Guard) passOf(slot registry.Slot) Pass {
	if state, known := (*g.states.Load())[slot]; known {
		return Pass{clean: state.clean.Load(), slot: slot}
	}
	return Pass{}
}

// setClean records that a slot is clean, and reports whether it still is.
func (g *Guard) setClean(slot registry.Slot, found *clean) bool {
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

// stateOf requires g.mu. It replaces the map, because others read it meanwhile. There are few
// slots.
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

// node returns the client of the node that serves a slot, as far as is known. It is nil without a
// cluster. Each hit calls it, so it takes no lock.
func (g *Guard) node(ctx context.Context, slot registry.Slot) (*redis.Client, error) {
	if g.cluster == nil {
		return nil, nil //nolint:nilnil // nil stands for the only server
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
