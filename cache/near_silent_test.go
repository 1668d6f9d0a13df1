// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"bytes"
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
)

// mutedNetwork drops, while it is muted, what Redis sends on the connections that report changes.
// All others work.
type mutedNetwork struct{ muted atomic.Bool }

func (n *mutedNetwork) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &mutedConn{Conn: conn, network: n}, err
}

type mutedConn struct {
	net.Conn

	network *mutedNetwork
	follows atomic.Bool
}

func (c *mutedConn) Write(b []byte) (int, error) {
	if bytes.Contains(bytes.ToLower(b), []byte("subscribe")) {
		c.follows.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *mutedConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.follows.Load() || !c.network.muted.Load() {
			return n, err
		}
	}
}

// An invalidation elsewhere, and the loss of the connection that reports it, are obeyed as soon as
// they are seen. A connection that is silent is trusted for a second. After that nothing that was
// invalidated is served, and nothing is kept until Redis answers again.
func TestNearCacheObeysMessagesAtOnceAndBelievesSilenceForASecond(t *testing.T) {
	const (
		// longest is far more than a second, for a busy machine, and far less than entries live.
		longest = 5 * time.Second
		rounds  = 5
	)
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	var network mutedNetwork
	options := redisOptions(server.Addr())
	options.Dialer = network.dial
	c := newNearCache(t, redis.NewClient(options), cache.NearCache{MaxAge: time.Hour})
	other := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))

	// until returns how long an entry that is kept is served from memory after something happened.
	until := func(happens func(), served func() bool) time.Duration {
		t.Helper()
		warm(t, server, c, usersGet)
		start := time.Now()
		happens()
		NewWithT(t).Eventually(served).WithTimeout(waitTimeout).WithPolling(time.Millisecond).Should(BeFalse())
		return time.Since(start)
	}
	invalidate := func() {
		if err := other.InvalidateModule(t.Context(), "users"); err != nil {
			t.Fatal(err)
		}
	}
	servesInvalidated := func() bool { return !fetchLoaded(t, c, usersGet) }
	servesFromMemory := func() bool {
		before := mgets(t, server)
		fetchLoaded(t, c, usersGet)
		return mgets(t, server) == before
	}
	lose := func() {
		if err := server.Client().ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
	}

	var reported, lost []time.Duration
	for range rounds {
		reported = append(reported, until(invalidate, servesInvalidated))
		lost = append(lost, until(lose, servesFromMemory))
	}
	silent := until(func() { network.muted.Store(true); invalidate() }, servesInvalidated)
	for range rounds {
		if servesFromMemory() {
			t.Error("an entry was kept although Redis is not heard")
		}
	}
	network.muted.Store(false)
	warm(t, server, c, usersGet)

	if silent > longest {
		t.Errorf("what was invalidated was served for %s, with a connection that says nothing", silent)
	}
	for what, took := range map[string][]time.Duration{"an invalidation": reported, "a lost connection": lost} {
		slices.Sort(took)
		if median := took[rounds/2]; median > silent/4 {
			t.Errorf("%s is obeyed after %s, silence after %s: want a fourth of that at most", what, median, silent)
		}
	}
	t.Logf("reported: %s, lost: %s, silent: %s", reported, lost, silent)
}
