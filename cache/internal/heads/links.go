// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Links are the connections on which the nodes of one Redis report changes. The Trackers of all
// modules that a node serves share two connections, which are closed when no Tracker is left.
type Links struct {
	// ReadsReplicas, if set, reports whether connections of the client lead to replicas. Their
	// answers may be older than the heads.
	ReadsReplicas func() bool

	client     redis.UniversalClient
	generation func() uint64

	mu   sync.Mutex
	open map[string]*link // by the address of the node
}

// NewLinks returns the Links of a client that Supports accepts. generation changes each time
// another server may answer reads than before. Then no Stamp is valid, and the connections are
// opened again.
func NewLinks(client redis.UniversalClient, generation func() uint64) *Links {
	return &Links{client: client, generation: generation, open: make(map[string]*link)}
}

// fit returns an error if heads cannot be followed on the client's connections.
func (ls *Links) fit() error {
	if ls.ReadsReplicas != nil && ls.ReadsReplicas() {
		return fmt.Errorf("%w: some of the client's connections are to replicas", ErrUnfit)
	}
	return nil
}

// join returns a link to a node, opened in this generation. It reports changes to the tracker until
// that leaves.
func (ls *Links) join(
	ctx context.Context, node *redis.Client, since uint64, t *Tracker,
) (*link, error) {
	err := ls.fit()
	if err != nil {
		return nil, err
	}
	l := ls.enter(node, since, t)
	select {
	case <-l.up:
		return l, nil
	case <-l.ctx.Done():
		err = l.lost()
	case <-ctx.Done():
		err = ctx.Err()
	}
	ls.leave(l, t)
	return nil, err
}

func (ls *Links) enter(node *redis.Client, since uint64, t *Tracker) *link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	address := node.Options().Addr
	l, found := ls.open[address]
	if !found || l.since != since || l.lost() != nil {
		l = openLink(node, since, ls.generation)
		ls.open[address] = l
	}
	l.add(t)
	return l
}

// leave closes a link if its last tracker leaves.
func (ls *Links) leave(l *link, t *Tracker) {
	if ls.removed(l, t) {
		l.close()
	}
}

func (ls *Links) removed(l *link, t *Tracker) (last bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if !l.remove(t) {
		return false
	}
	if address := l.node.Options().Addr; ls.open[address] == l {
		delete(ls.open, address)
	}
	return true
}

var errUnknownClient = errors.New("the near cache needs a *redis.Client or a *redis.ClusterClient")

func (ls *Links) node(ctx context.Context, slot string) (*redis.Client, error) {
	switch client := ls.client.(type) {
	case *redis.Client:
		return client, nil
	case *redis.ClusterClient:
		return client.MasterForKey(ctx, slot)
	default:
		return nil, errUnknownClient
	}
}

// refresh makes the client look up which node serves what: a slot may have moved.
func (ls *Links) refresh(ctx context.Context) {
	if cluster, ok := ls.client.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}

var errReplicas = errors.New(
	"the near cache needs reads from primaries, whose changes it follows: " +
		"a replica may answer with old data; " +
		"leave ReadOnly, RouteByLatency and RouteRandomly off")

// Supports returns an error if heads cannot be followed with such a client.
func Supports(client redis.UniversalClient) error {
	switch client := client.(type) {
	case *redis.Client:
		return nil
	case *redis.ClusterClient:
		if client.Options().ReadOnly { // the others imply it
			return errReplicas
		}
		return nil
	default:
		return fmt.Errorf("%w, not a %T", errUnknownClient, client)
	}
}
