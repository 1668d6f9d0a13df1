// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// MasterName is the name that the Sentinels of a SentinelGroup use for their primary.
const MasterName = "main"

const (
	sentinelDownAfter = 500 // ms without an answer until a failover that a test wants
	// the same otherwise, because a busy machine must not cause a failover
	sentinelTimeout         = 30_000
	sentinelFailoverTimeout = 5000
	failoverTimeout         = 60 * time.Second
	failoverPoll            = 20 * time.Millisecond
)

// SentinelGroup is a primary and its replicas with Sentinels. If the primary ends, the Sentinels
// promote a replica within seconds.
type SentinelGroup struct {
	tb        testing.TB
	servers   []*Server // the first was the primary at the start
	sentinels []*Server
}

// StartSentinel runs a primary, its replicas and Sentinels on loopback until the test ends. It
// returns when they all know each other. config holds further directives for the servers.
func StartSentinel(tb testing.TB, replicas, sentinels int, config ...string) *SentinelGroup {
	tb.Helper()
	return startSentinelGroup(tb, Start(tb, config...), replicas, sentinels, config)
}

// StartSentinelTLS does what StartSentinel does, with the TLS of StartTLS. The servers use it among
// themselves, too.
func StartSentinelTLS(
	tb testing.TB, certificates *Certificates, replicas, sentinels int,
) *SentinelGroup {
	tb.Helper()
	return startSentinelGroup(tb, StartTLS(tb, certificates), replicas, sentinels, nil)
}

func startSentinelGroup(
	tb testing.TB, primary *Server, replicas, sentinels int, config []string,
) *SentinelGroup {
	tb.Helper()
	group := &SentinelGroup{tb: tb, servers: []*Server{primary}}
	for range replicas {
		group.servers = append(group.servers, StartReplica(tb, primary, config...))
	}
	primary.WaitReplicated()
	for range sentinels {
		group.sentinels = append(group.sentinels, startSentinel(tb, primary, sentinels/2+1))
	}
	group.await("the Sentinels know each other and all replicas", group.mayFailOver)
	return group
}

func startSentinel(tb testing.TB, primary *Server, quorum int) *Server {
	tb.Helper()
	dir := tb.TempDir()
	return start(tb,
		launch{dir: dir, tls: primary.launch.tls, sentinel: func(listening [][2]string) (string, error) {
			file := filepath.Join(dir, "sentinel.conf")
			if _, err := os.Stat(file); err == nil {
				return file, nil // a restarted Sentinel reads its former state
			}
			config := fmt.Sprintf("bind %[1]s\ndir %[2]s\nsentinel monitor %[3]s %[1]s %[4]d %[5]d\n"+
				"sentinel down-after-milliseconds %[3]s %[6]d\nsentinel failover-timeout %[3]s %[7]d\n",
				loopback, dir, MasterName, primary.launch.port, quorum, sentinelTimeout,
				sentinelFailoverTimeout)
			for _, directive := range listening {
				config += directive[0] + " " + directive[1] + "\n"
			}
			return file, os.WriteFile(file, []byte(config), 0o600)
		}})
}

// Addrs returns the addresses of the Sentinels as host:port.
func (g *SentinelGroup) Addrs() []string {
	addrs := make([]string, len(g.sentinels))
	for i, sentinel := range g.sentinels {
		addrs[i] = sentinel.Addr()
	}
	return addrs
}

// Servers returns the Redis servers of all roles.
func (g *SentinelGroup) Servers() []*Server { return g.servers }

// Replicas returns all servers except the primary.
func (g *SentinelGroup) Replicas() (replicas []*Server) {
	g.tb.Helper()
	primary := g.Primary()
	for _, server := range g.servers {
		if server != primary {
			replicas = append(replicas, server)
		}
	}
	return replicas
}

// Sentinels returns the servers that run the Sentinels.
func (g *SentinelGroup) Sentinels() []*Server { return g.sentinels }

// Client returns a new client, which follows the primary. It is closed when the test ends.
func (g *SentinelGroup) Client() *redis.Client {
	options := &redis.FailoverOptions{
		// which applications need
		MasterName: MasterName, SentinelAddrs: g.Addrs(), ContextTimeoutEnabled: true,
	}
	if certificates := g.servers[0].launch.tls; certificates != nil {
		options.TLSConfig = certificates.Config()
	}
	client := redis.NewFailoverClient(options)
	g.tb.Cleanup(func() { _ = client.Close() })
	return client
}

// Primary returns the server that the first Sentinel considers the primary.
func (g *SentinelGroup) Primary() *Server {
	g.tb.Helper()
	primary, err := g.primary(context.Background())
	if err != nil {
		g.tb.Fatal(err)
	}
	return primary
}

// Failover kills the primary and returns the promoted server, once all Sentinels name it and it
// accepts writes.
func (g *SentinelGroup) Failover() *Server {
	g.tb.Helper()
	before := g.Primary()
	g.admitLaggards(before)
	before.Kill()
	return g.successor(before)
}

// Rejoin restarts a server that Failover killed, as a replica of the present primary. It returns
// when the next failover is possible.
func (g *SentinelGroup) Rejoin(former *Server) {
	g.tb.Helper()
	primary := g.Primary()
	former.Restart()
	former.do("REPLICAOF", loopback, strconv.Itoa(primary.launch.port))
	former.wait("is a replica in sync", func(info string) bool {
		return strings.Contains(info, "master_link_status:up")
	})
	g.await("the Sentinels know that it is back", g.mayFailOver)
}

// admitLaggards sets the shortest timeout with which the Sentinels still promote these replicas.
// They refuse a replica that was disconnected for more than ten times this timeout.
func (g *SentinelGroup) admitLaggards(primary *Server) {
	downAfter := sentinelDownAfter
	for _, server := range g.servers {
		if server != primary {
			downAfter = max(downAfter, int(server.cutOffFor().Milliseconds())/5)
		}
	}
	g.waitForAnswers(downAfter)
}

// waitForAnswers sets the milliseconds that the Sentinels wait for an answer of a server.
func (g *SentinelGroup) waitForAnswers(downAfter int) {
	for _, sentinel := range g.sentinels {
		sentinel.do("SENTINEL", "SET", MasterName, "down-after-milliseconds", strconv.Itoa(downAfter))
	}
}

// Split disconnects the primary from its replicas and the Sentinels, as a network failure would. It
// returns the former primary when another server is promoted. Clients can still reach the former
// primary if they log in as another user than default.
func (g *SentinelGroup) Split() (former *Server) {
	g.tb.Helper()
	former = g.Primary()
	former.PauseReplication()
	g.waitForAnswers(sentinelDownAfter)
	former.do("ACL", "SETUSER", "default", "-ping", "-info")
	g.successor(former)
	return former
}

// Heal reverses Split. It returns when the former primary is a replica of the promoted one.
func (g *SentinelGroup) Heal(former *Server) {
	g.tb.Helper()
	former.do("ACL", "SETUSER", "default", "+ping", "+info")
	former.ResumeReplication()
	g.await("the former primary is a replica", func(ctx context.Context) error {
		return wantRole(ctx, former, "slave")
	})
}

// successor waits until all Sentinels name another primary that accepts writes.
func (g *SentinelGroup) successor(before *Server) (after *Server) {
	g.tb.Helper()
	g.await("another server is the primary", func(ctx context.Context) error {
		var err error
		if after, err = g.primary(ctx); err != nil {
			return err
		}
		if after == before {
			return fmt.Errorf("it is still %s", before.Addr())
		}
		return wantRole(ctx, after, "master")
	})
	g.waitForAnswers(sentinelTimeout)
	return after
}

func (g *SentinelGroup) primary(ctx context.Context) (*Server, error) {
	var named *Server
	for _, sentinel := range g.sentinels {
		client := redis.NewSentinelClient(sentinel.options("", ""))
		addr, err := client.GetMasterAddrByName(ctx, MasterName).Result()
		_ = client.Close()
		if err != nil {
			return nil, fmt.Errorf("asking Sentinel %s: %w", sentinel.Addr(), err)
		}
		server := g.serverAt(addr[1])
		if server == nil || named != nil && named != server {
			return nil, fmt.Errorf("sentinels do not agree on the primary: %s names %v", sentinel.Addr(),
				addr)
		}
		named = server
	}
	return named, nil
}

func (g *SentinelGroup) serverAt(port string) *Server {
	for _, server := range g.servers {
		if server.Addr() == loopback+":"+port {
			return server
		}
	}
	return nil
}

// mayFailOver returns an error unless a failover would succeed.
func (g *SentinelGroup) mayFailOver(ctx context.Context) error {
	for _, sentinel := range g.sentinels {
		client := redis.NewSentinelClient(sentinel.options("", ""))
		master, err := client.Master(ctx, MasterName).Result()
		_ = client.Close()
		if err != nil {
			return fmt.Errorf("asking Sentinel %s: %w", sentinel.Addr(), err)
		}
		replicas, others := fmt.Sprint(len(g.servers)-1), fmt.Sprint(len(g.sentinels)-1)
		if master["num-slaves"] != replicas || master["num-other-sentinels"] != others ||
			master["flags"] != "master" {
			return fmt.Errorf("sentinel %s says: %v", sentinel.Addr(), master)
		}
	}
	return nil
}

func wantRole(ctx context.Context, server *Server, want string) error {
	client := server.newClient("", "")
	defer func() { _ = client.Close() }()
	info, err := client.Info(ctx, "replication").Result()
	if err == nil && field(info, "role") != want {
		err = fmt.Errorf("%s is not a %s:\n%s", server.Addr(), want, info)
	}
	return err
}

// await retries until there is no error.
func (g *SentinelGroup) await(what string, try func(context.Context) error) {
	g.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), failoverTimeout)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			g.tb.Fatalf("waited %s until %s: %v", failoverTimeout, what, err)
		case <-time.After(failoverPoll):
		}
	}
}
