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

// Links are the connections on which the nodes of one Redis tell of changes: two to each node, shared by the Trackers
// of all modules that it serves, and there while there are any.
type Links struct {
	// ReadsReplicas, if set, says whether connections of the client are to replicas: what these answer may be older than
	// what the heads say.
	ReadsReplicas func() bool

	client     redis.UniversalClient
	generation func() uint64

	mu   sync.Mutex
	open map[string]*link // by the address of the node
}

// NewLinks returns the Links of a client that Supports accepts. generation tells when another server may answer reads than
// before: then no Stamp is valid, and the connections are made anew.
func NewLinks(client redis.UniversalClient, generation func() uint64) *Links {
	return &Links{client: client, generation: generation, open: make(map[string]*link)}
}

// fit returns why the client's connections do not allow heads to be followed, or nil.
func (ls *Links) fit() error {
	if ls.ReadsReplicas != nil && ls.ReadsReplicas() {
		return fmt.Errorf("%w: some of the client's connections are to replicas", ErrUnfit)
	}
	return nil
}

// join returns the link to a node, made in this generation, which tells the tracker of changes until it leaves.
func (ls *Links) join(ctx context.Context, node *redis.Client, since uint64, t *Tracker) (*link, error) {
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

// leave closes a link that nobody needs any more.
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

// refresh has the client find out which node serves what: a slot may have moved.
func (ls *Links) refresh(ctx context.Context) {
	if cluster, ok := ls.client.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}

var errReplicas = errors.New("the near cache needs reads from primaries, whose changes it follows: a replica may answer with what was changed long ago; " +
	"leave ReadOnly, RouteByLatency and RouteRandomly off")

// Supports says whether heads can be followed by such a client.
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
