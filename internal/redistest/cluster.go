// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	clusterSlots   = 16384
	clusterTimeout = 60 * time.Second
	clusterPoll    = 20 * time.Millisecond
	electionTime   = 500 * time.Millisecond
)

// Cluster is a Redis Cluster. At first, it has only primaries, which share the slots evenly. Tests
// may add replicas and further primaries.
type Cluster struct {
	tb      testing.TB    // nil if RunCluster started it
	tls     *Certificates // nil: without TLS
	servers []*Server
}

// StartCluster runs a Redis Cluster with a number of primaries on loopback until the test ends. It
// returns when every server knows all others and reports the cluster as ok.
func StartCluster(tb testing.TB, primaries int) *Cluster {
	tb.Helper()
	return startCluster(&Cluster{tb: tb}, primaries)
}

// RunCluster runs a cluster as StartCluster does, for programs that are not tests. It ends when ctx
// is done. dir is created if it does not exist. config holds further directives, as for Start.
func RunCluster(
	ctx context.Context, dir string, primaries int, config ...string,
) (*Cluster, error) {
	cluster := &Cluster{}
	for i := range primaries {
		server := &Server{launch: launch{
			dir: filepath.Join(dir, strconv.Itoa(i)), cluster: true, config: config,
		}}
		if err := os.MkdirAll(server.launch.dir, 0o750); err != nil {
			return nil, fmt.Errorf("creating the directory of redis-server: %w", err)
		}
		if err := server.start(); err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, server.Kill)
		cluster.servers = append(cluster.servers, server)
	}
	if err := cluster.form(); err != nil {
		return nil, err
	}
	if err := cluster.ready(); err != nil {
		return nil, err
	}
	return cluster, nil
}

// StartClusterTLS does what StartCluster does, with the TLS of StartTLS. The servers use it among
// themselves, too.
func StartClusterTLS(tb testing.TB, certificates *Certificates, primaries int) *Cluster {
	tb.Helper()
	return startCluster(&Cluster{tb: tb, tls: certificates}, primaries)
}

func startCluster(cluster *Cluster, primaries int) *Cluster {
	cluster.tb.Helper()
	for range primaries {
		cluster.servers = append(cluster.servers, cluster.start())
	}
	if err := cluster.form(); err != nil {
		cluster.tb.Fatal(err)
	}
	cluster.WaitReady()
	return cluster
}

func (c *Cluster) start() *Server {
	c.tb.Helper()
	return start(c.tb, launch{dir: c.tb.TempDir(), cluster: true, tls: c.tls})
}

// AddPrimary runs another server, a primary without slots. It returns when all servers know each
// other.
func (c *Cluster) AddPrimary() *Server {
	c.tb.Helper()
	return c.add()
}

// AddReplica runs a replica of a server. It returns when the replica can be promoted.
func (c *Cluster) AddReplica(primary *Server) *Server {
	c.tb.Helper()
	replica := c.add()
	id := primary.ask("CLUSTER", "MYID").(string)
	replica.do("CLUSTER", "REPLICATE", id)
	replica.wait("is a replica in sync", func(info string) bool {
		return strings.Contains(info, "master_link_status:up")
	})
	c.await("all know that it is a replica", func() error {
		for _, server := range c.servers {
			if nodes := server.ask("CLUSTER", "NODES").(string); !strings.Contains(nodes, "slave "+id) {
				return fmt.Errorf("%s says:\n%s", server.Addr(), nodes)
			}
		}
		return nil
	})
	return replica
}

func (c *Cluster) add() *Server {
	c.tb.Helper()
	server, seed := c.start(), c.servers[0].launch
	server.do("CLUSTER", "MEET", loopback, strconv.Itoa(seed.port), strconv.Itoa(seed.busPort))
	c.servers = append(c.servers, server)
	c.WaitReady()
	return server
}

// Failover kills a primary, removes it from the cluster, and promotes one of its replicas. It
// returns when all servers agree.
func (c *Cluster) Failover(primary, replica *Server) {
	c.tb.Helper()
	primary.Kill()
	c.servers = slices.DeleteFunc(c.servers, func(server *Server) bool { return server == primary })
	c.await("the replica is the primary", func() error {
		if strings.Contains(replica.ask("INFO", "replication").(string), "role:master") {
			return nil
		}
		replica.do("CLUSTER", "FAILOVER", "FORCE") // an election may fail
		time.Sleep(electionTime)
		return errors.New("it is a replica")
	})
	c.WaitReady()
}

// Addrs returns the addresses of the servers as host:port.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.servers))
	for i, server := range c.servers {
		addrs[i] = server.Addr()
	}
	return addrs
}

// Servers returns the members. The first ones are in the order of the slots that they had at the
// start; added ones follow. After restarting one, call WaitReady.
func (c *Cluster) Servers() []*Server { return c.servers }

// Client returns a new client of the cluster, which is closed when the test ends.
func (c *Cluster) Client() *redis.ClusterClient {
	options := &redis.ClusterOptions{Addrs: c.Addrs()}
	if c.tls != nil {
		options.TLSConfig = c.tls.Config()
	}
	client := redis.NewClusterClient(options)
	c.tb.Cleanup(func() { _ = client.Close() })
	return client
}

// WaitReady waits until every server knows all others and reports the cluster as ok. After a
// minute it fails the test, or panics for a cluster of RunCluster.
func (c *Cluster) WaitReady() {
	if c.tb != nil {
		c.tb.Helper()
	}
	c.must(c.ready())
}

func (c *Cluster) ready() error {
	for _, server := range c.servers {
		if err := retry("it is ready", func() error { return c.checkNode(server) }); err != nil {
			return err
		}
	}
	return nil
}

// await retries until there is no error.
func (c *Cluster) await(what string, try func() error) {
	c.tb.Helper()
	c.must(retry(what, try))
}

func (c *Cluster) must(err error) {
	if err == nil {
		return
	}
	if c.tb == nil {
		panic(err)
	}
	c.tb.Helper()
	c.tb.Fatal(err)
}

func retry(what string, try func() error) error {
	for deadline := time.Now().Add(clusterTimeout); ; time.Sleep(clusterPoll) {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for the cluster until %s: %w", clusterTimeout, what, err)
		}
	}
}

// form gives each server its share of the slots and introduces it to the first one. Each also gets
// its own configuration epoch, because resolving a collision would take time.
func (c *Cluster) form() error {
	for i, server := range c.servers {
		first, last := i*clusterSlots/len(c.servers), (i+1)*clusterSlots/len(c.servers)-1
		commands := [][]any{
			{"CLUSTER", "ADDSLOTSRANGE", first, last},
			{"CLUSTER", "SET-CONFIG-EPOCH", i + 1},
		}
		if i > 0 {
			seed := c.servers[0].launch
			commands = append(commands, []any{"CLUSTER", "MEET", loopback, seed.port, seed.busPort})
		}
		if err := doAll(server, commands); err != nil {
			return fmt.Errorf("forming the cluster at %s: %w", server.Addr(), err)
		}
	}
	return nil
}

func (c *Cluster) checkNode(server *Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	client := server.newClient("", "")
	defer func() { _ = client.Close() }()

	info, err := client.ClusterInfo(ctx).Result()
	if err != nil {
		return fmt.Errorf("asking %s for CLUSTER INFO: %w", server.Addr(), err)
	}
	nodes, err := client.ClusterNodes(ctx).Result()
	if err != nil {
		return fmt.Errorf("asking %s for CLUSTER NODES: %w", server.Addr(), err)
	}
	connected := strings.Count(nodes, " connected")
	if !strings.Contains(info, "cluster_state:ok") || connected != len(c.servers) ||
		strings.Contains(nodes, "handshake") {
		return fmt.Errorf("%s says:\n%s%s", server.Addr(), info, nodes)
	}
	return nil
}

func doAll(server *Server, commands [][]any) error {
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	client := server.newClient("", "")
	defer func() { _ = client.Close() }()
	for _, command := range commands {
		if err := client.Do(ctx, command...).Err(); err != nil {
			return fmt.Errorf("%v: %w", command, err)
		}
	}
	return nil
}
