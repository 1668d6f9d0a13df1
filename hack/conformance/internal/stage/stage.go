// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stage has the Redis on which a client is tried: one of its own, or one that is there.
package stage

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// Namespace is that of all that the runner and the clients write, except for the vectors.
const Namespace = "conformance"

// primaries of a cluster.
const primaries = 3

// Stage is a Redis with the function library.
type Stage struct {
	Addresses []string
	IsCluster bool
	// Username and Password are of the tenant as which clients log in; empty: as everybody.
	Username, Password string
	// Client and Registry are those of the runner. They do not know fences.
	Client   redis.UniversalClient
	Registry *registry.Registry

	servers []*redistest.Server // none: the servers are somebody else's
	cluster *redistest.Cluster  // nil: none, or somebody else's
}

// Single runs a standalone server until ctx is done. It keeps its files in dir. Clients log in as a
// tenant, with the rights that a page gives to one.
func Single(ctx context.Context, dir, page string) (*Stage, error) {
	file, err := newACLFile(dir)
	if err != nil {
		return nil, err
	}
	server, err := redistest.Run(ctx, dir, 0, "--aclfile", file)
	if err != nil {
		return nil, err
	}
	s := &Stage{Addresses: []string{server.Addr()}, servers: []*redistest.Server{server}}
	if err := s.admitTenant(page); err != nil {
		return nil, err
	}
	return open(ctx, s)
}

// Cluster does what Single does, with a cluster.
func Cluster(ctx context.Context, dir, page string) (*Stage, error) {
	file, err := newACLFile(dir)
	if err != nil {
		return nil, err
	}
	cluster, err := redistest.RunCluster(ctx, dir, primaries, "--aclfile", file)
	if err != nil {
		return nil, err
	}
	s := &Stage{
		Addresses: cluster.Addrs(), IsCluster: true, servers: cluster.Servers(), cluster: cluster,
	}
	if err := s.admitTenant(page); err != nil {
		return nil, err
	}
	return open(ctx, s)
}

// At uses servers that are there. What it writes is in the namespaces conformance and vectors.
func At(ctx context.Context, addresses []string, isCluster bool) (*Stage, error) {
	return open(ctx, &Stage{Addresses: addresses, IsCluster: isCluster})
}

func open(ctx context.Context, s *Stage) (*Stage, error) {
	s.Client = redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: s.Addresses, IsClusterMode: s.IsCluster,
	})
	s.Registry = registry.New(s.Client)
	if _, err := s.Registry.Install(ctx); err != nil {
		return nil, fmt.Errorf("loading the function library: %w", err)
	}
	return s, nil
}

// IsOurs says that the servers are of this stage, which may restart and stop them.
func (s *Stage) IsOurs() bool { return len(s.servers) > 0 }

// Close deletes what was written to servers of somebody else, and ends the connections. Servers of
// this stage end with their context.
func (s *Stage) Close(ctx context.Context) error {
	if s.IsOurs() {
		return s.Client.Close()
	}
	return errors.Join(s.Clear(ctx, "cw:{"+Namespace), s.Clear(ctx, "cw:{vectors"), s.Client.Close())
}

// server returns the one that has a key.
func (s *Stage) server(ctx context.Context, key string) (*redistest.Server, error) {
	cluster, isCluster := s.Client.(*redis.ClusterClient)
	if !isCluster {
		return s.servers[0], nil
	}
	node, err := cluster.MasterForKey(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("looking for the server of %s: %w", key, err)
	}
	for _, server := range s.servers {
		if server.Addr() == node.Options().Addr {
			return server, nil
		}
	}
	return nil, fmt.Errorf("no server has the address %s", node.Options().Addr)
}

// GoBack takes a snapshot of the server that has a key, calls change, and restarts the server, so
// that it has forgotten what changed.
func (s *Stage) GoBack(ctx context.Context, key string, change func()) error {
	server, err := s.server(ctx, key)
	if err != nil {
		return err
	}
	server.Save()
	change()
	server.Restart()
	if s.cluster != nil {
		s.cluster.WaitReady()
	}
	return nil
}

// WhileItHangs stops the server that has a key, calls do, and lets the server go on.
func (s *Stage) WhileItHangs(ctx context.Context, key string, do func()) error {
	server, err := s.server(ctx, key)
	if err != nil {
		return err
	}
	server.Pause()
	defer server.Resume()
	do()
	return nil
}
