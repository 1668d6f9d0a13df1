// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
)

// queueing is a cache over a cluster that invalidates while a node is down.
type queueing struct {
	witness

	t         *testing.T
	cache     *cache.Client
	key       cache.Key // on the node that is down
	elsewhere cache.Key
}

func newQueueing(t *testing.T, cluster *redistest.Cluster, manner string, modules []string) *queueing {
	t.Helper()
	q := &queueing{
		t:         t,
		key:       cache.Key{Module: modules[0], Operation: "get", Params: manner},
		elsewhere: cache.Key{Module: modules[1], Operation: "get", Params: manner},
	}
	options := &redis.ClusterOptions{
		Addrs: cluster.Addrs()[1:], ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	options.ReadTimeout, options.MaxRetries = pipelinedOrNot(manner)
	q.cache = newCache(t, redis.NewClusterClient(options), append([]cache.Option{
		cache.WithTimeout(2 * time.Second), cache.WithInvalidationTimeout(300 * time.Millisecond), cache.WithObserver(&q.witness),
	}, manners[manner]...)...)
	return q
}

func (q *queueing) fetch(key cache.Key, source string) (got string, loaded bool) {
	got, err := cache.Fetch(q.t.Context(), q.cache, key, func(context.Context) (string, error) {
		loaded = true
		return source, nil
	})
	if err != nil {
		q.t.Error(err)
	}
	return got, loaded
}

// cached waits until an entry is served from the cache. Meanwhile reads must return what the source
// has.
func (q *queueing) cached(key cache.Key, source string) {
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(time.Millisecond) {
		got, loaded := q.fetch(key, source)
		if got != source {
			q.t.Errorf("%v: got %q, and the source has %q", key, got, source)
			return
		}
		if !loaded {
			return
		}
		if time.Now().After(deadline) {
			q.t.Errorf("%v is not cached", key)
			return
		}
	}
}

// change invalidates entries while the cluster is out of reach.
func (q *queueing) change() {
	if err := q.cache.InvalidateOperation(q.t.Context(), q.key.Module, q.key.Operation); !errors.Is(err, cache.ErrQueued) {
		q.t.Errorf("%v: got %v, want ErrQueued", q.key, err)
	}
	for range 20 {
		if got, _ := q.fetch(q.key, "new"); got != "new" {
			q.t.Errorf("%v: got %q", q.key, got)
		}
	}
	q.cached(q.elsewhere, "old")
}

// awaitDelivery waits until the invalidation is delivered, and the module is cached again.
func (q *queueing) awaitDelivery() {
	q.cached(q.key, "new")
	NewWithT(q.t).Eventually(func() int { return q.figures().QueuedInvalidations }).WithTimeout(waitTimeout).Should(BeZero())
}

// A node of a cluster that hangs, or is gone, gets the invalidations when it is back. Until then
// the processes that made them read past it, and only past it.
func TestInvalidationsWaitForANodeOfACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	modules, sick := modulesByNode(t, cluster), cluster.Servers()[0]
	prepare := func() {
		for _, module := range modules {
			applyPolicy(t, cluster.Client(), module, hour())
		}
	}
	for _, outage := range []struct {
		name       string
		begin, end func()
	}{
		{"hanging", sick.Pause, sick.Resume},
		{"dead", sick.Kill, func() {
			sick.Restart()
			cluster.WaitReady()
			prepare()
		}},
	} {
		t.Run(outage.name, func(t *testing.T) {
			prepare()
			var all []*queueing
			for manner := range manners {
				all = append(all, newQueueing(t, cluster, manner, modules))
			}
			together := func(do func(*queueing)) {
				var group sync.WaitGroup
				for _, q := range all {
					group.Go(func() { do(q) })
				}
				group.Wait()
			}
			for _, q := range all {
				NewWithT(t).Eventually(func() error { return q.cache.InvalidateModule(t.Context(), q.key.Module) }).
					WithTimeout(waitTimeout).Should(Succeed())
			}
			together(func(q *queueing) { q.cached(q.key, "old"); q.cached(q.elsewhere, "old") })
			outage.begin()
			together((*queueing).change)
			outage.end()
			together((*queueing).awaitDelivery)
			for _, q := range all {
				late := newQueueing(t, cluster, "plain", modules)
				late.cached(q.key, "new")
			}
		})
	}
}
