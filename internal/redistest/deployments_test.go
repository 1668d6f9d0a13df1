// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

func TestRestartBeginsWithWhatWasSaved(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t)
	client := server.Client()
	for _, value := range []string{"saved", "lost"} {
		if err := client.Set(ctx, "key", value, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if value == "saved" {
			server.Save()
		}
	}
	server.Restart()
	if got, err := server.Client().Get(ctx, "key").Result(); got != "saved" {
		t.Errorf("GET after the restart: %q, %v; want what was saved", got, err)
	}
}

func TestASnapshotCanBeLookedAtBesideItsServer(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t)
	client := server.Client()
	client.Set(ctx, "key", "saved", 0)
	server.Save()
	client.Set(ctx, "key", "later", 0)
	for value, server := range map[string]*redistest.Server{"saved": server.StartFromSnapshot(), "later": server} {
		if got, err := server.Client().Get(ctx, "key").Result(); got != value {
			t.Errorf("GET: %q, %v; want %q", got, err, value)
		}
	}
}

func TestSentinelPromotesOneReplicaAfterAnother(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinel(t, 1, 3)
	first := group.Primary()
	second := group.Failover()
	group.Rejoin(first)
	if replicas := group.Replicas(); len(replicas) != 1 || replicas[0] != first {
		t.Errorf("%d replicas, and %s is the primary; want the former one as the only replica", len(replicas), group.Primary().Addr())
	}
	if third := group.Failover(); third != first {
		t.Errorf("%s was promoted after %s, want %s", third.Addr(), second.Addr(), first.Addr())
	}
}

func TestSentinelPromotesAReplicaThatLacksWhatWasWrittenWhilePaused(t *testing.T) {
	ctx := t.Context()
	group := redistest.StartSentinel(t, 2, 3)
	client := group.Client()
	set := func(key string) {
		t.Helper()
		if err := client.Set(ctx, key, "1", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("before")
	group.Primary().WaitReplicated()
	group.Primary().PauseReplication()
	set("after")

	promoted := group.Failover().Client()
	if err := promoted.Get(ctx, "before").Err(); err != nil {
		t.Errorf("what was replicated is lost: %v", err)
	}
	if err := promoted.Get(ctx, "after").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("what was written while replication was paused: %v, want %v", err, redis.Nil)
	}
}

// Sentinels refuse replicas that were disconnected for more than ten times their timeout, unless
// Failover raises it.
func TestSentinelPromotesAReplicaThatWasCutOffForLong(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinel(t, 1, 1)
	primary := group.Primary()
	primary.PauseReplication()
	time.Sleep(7 * time.Second)
	if promoted := group.Failover(); promoted == primary {
		t.Error("no replica was promoted")
	}
}

func TestReplicationResumes(t *testing.T) {
	ctx := t.Context()
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	primary.PauseReplication()
	if err := primary.Client().Set(ctx, "key", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	primary.ResumeReplication()
	primary.WaitReplicated()
	if err := replica.Client().Get(ctx, "key").Err(); err != nil {
		t.Errorf("the replica has not caught up: %v", err)
	}
}

func TestTLSServerWantsAClientCertificate(t *testing.T) {
	certificates := redistest.NewCertificates(t)
	server := redistest.StartTLS(t, certificates)
	if err := server.Client().Ping(t.Context()).Err(); err != nil {
		t.Errorf("with the certificate: %v", err)
	}

	config := certificates.Config()
	config.Certificates = nil
	for name, options := range map[string]*redis.Options{
		"no certificate": {TLSConfig: config},
		"no TLS":         {},
	} {
		options.Addr = server.Addr()
		client := redis.NewClient(options)
		if err := client.Ping(t.Context()).Err(); err == nil {
			t.Errorf("%s: the server answered", name)
		}
		_ = client.Close()
	}
}

func TestClusterAndSentinelSpeakTLSAndRefuseAFormerCertificate(t *testing.T) {
	certificates := redistest.NewCertificates(t)
	cluster := redistest.StartClusterTLS(t, certificates, 3)
	group := redistest.StartSentinelTLS(t, certificates, 1, 1)
	clients := func() map[string]redis.UniversalClient {
		return map[string]redis.UniversalClient{"cluster": cluster.Client(), "sentinel": group.Client()}
	}
	for name, client := range clients() {
		if err := client.Set(t.Context(), "key", "1", 0).Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	group.Primary().WaitReplicated()

	former := certificates.Config()
	servers := append(cluster.Servers(), group.Servers()...)
	certificates.RenewClient(servers, group.Sentinels())
	for _, server := range append(servers, group.Sentinels()...) {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), TLSConfig: former})
		if err := client.Ping(t.Context()).Err(); err == nil {
			t.Errorf("%s accepts the former certificate", server.Addr())
		}
		_ = client.Close()
	}
	for name, client := range clients() {
		if err := client.Get(t.Context(), "key").Err(); err != nil {
			t.Errorf("%s with the new certificate: %v", name, err)
		}
	}
	if promoted, err := group.Failover().Client().Get(t.Context(), "key").Result(); err != nil {
		t.Errorf("the promoted server: %q, %v", promoted, err)
	}
}

func TestClusterGrowsAndReplacesAPrimary(t *testing.T) {
	ctx := t.Context()
	cluster := redistest.StartCluster(t, 3)
	client := cluster.Client()
	want := func(what string, owner *redistest.Server) {
		t.Helper()
		if err := client.Get(ctx, "key").Err(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got := cluster.Owner("key"); got != owner {
			t.Errorf("%s: %s has the key, want %s", what, got.Addr(), owner.Addr())
		}
	}
	if err := client.Set(ctx, "key", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}

	added := cluster.AddPrimary()
	cluster.MoveSlotTo("key", added)
	want("moved to another primary", added)

	replica := cluster.AddReplica(added)
	cluster.Failover(added, replica)
	client = cluster.Client()
	want("with the replica promoted", replica)
}

func TestUsersMayDoWhatTheirRulesSay(t *testing.T) {
	server := redistest.Start(t)
	server.AddUser("shop", "secret", "~shop:*", "+@all")
	client := server.ClientAs("shop", "secret")
	if err := client.Set(t.Context(), "shop:key", "1", 0).Err(); err != nil {
		t.Error(err)
	}
	if err := client.Get(t.Context(), "other").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("got %v, want NOPERM", err)
	}
	if err := server.ClientAs("shop", "wrong").Ping(t.Context()).Err(); err == nil {
		t.Error("a wrong password was accepted")
	}
}
