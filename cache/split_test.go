// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
)

// network is what a client uses to reach Redis and its Sentinels.
type network struct {
	sentinels []string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn // to Sentinels
}

func (n *network) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	toSentinel := slices.Contains(n.sentinels, addr)
	if toSentinel && n.cut {
		return nil, errors.New("the network is parted")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err == nil && toSentinel {
		n.conns = append(n.conns, conn)
	}
	return conn, err
}

// part cuts a client off from its Sentinels, until join is called.
func (n *network) part() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = true
	for _, conn := range n.conns {
		_ = conn.Close()
	}
	n.conns = nil
}

func (n *network) join() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = false
}

// client returns a client of the primary, by the Sentinels that it reaches.
func (n *network) client() redis.UniversalClient {
	return redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: redistest.MasterName, SentinelAddrs: n.sentinels, Dialer: n.dial,
		Username: namespace, Password: "secret", ContextTimeoutEnabled: true,
	})
}

// A primary that is cut off together with some of its clients still serves them while Sentinels
// promote another. With min-replicas-to-write it takes no invalidations then: they are kept, and
// delivered to the new primary.
func TestInvalidationsAtAPrimaryThatIsCutOff(t *testing.T) {
	for _, test := range []struct {
		name   string
		config []string
		lost   bool
	}{
		{"are lost", nil, true},
		{"are delivered later with min-replicas-to-write", []string{"--min-replicas-to-write", "1", "--min-replicas-max-lag", "10"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting for Sentinels
			group := redistest.StartSentinel(t, 2, 1, test.config...)
			for _, server := range group.Servers() {
				server.AddUser(namespace, "secret", "~*", "&*", "+@all")
			}
			applyPolicy(t, group.Client(), "users", hour())
			inside, outside := &network{sentinels: group.Addrs()}, &network{sentinels: group.Addrs()}
			cutOff := newCache(t, inside.client(), cache.WithTimeout(waitTimeout))
			other := newCache(t, outside.client(), cache.WithTimeout(waitTimeout))
			s := &versioned{}
			s.want(t, cutOff, 0)
			s.want(t, other, 0)
			group.Primary().WaitReplicated()

			inside.part()
			former := group.Split()
			s.version.Store(1)
			NewWithT(t).Eventually(func() (int64, error) { return s.fetch(t.Context(), other) }).WithTimeout(waitTimeout).
				Should(BeEquivalentTo(1), "the new primary is not used, or what it held")

			s.version.Store(2)
			err := cutOff.InvalidateModule(t.Context(), "users")
			if refused := err != nil; refused == test.lost {
				t.Fatalf("the invalidation at the former primary: %v", err)
			}
			s.want(t, cutOff, 2)
			s.want(t, other, 1)
			if test.lost {
				return
			}
			inside.join()
			group.Heal(former)
			NewWithT(t).Eventually(func() (int64, error) { return s.fetch(t.Context(), other) }).WithTimeout(waitTimeout).
				Should(BeEquivalentTo(2), "it is not delivered")
		})
	}
}
