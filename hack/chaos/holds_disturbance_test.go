// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
)

// disturb makes some trouble for a server. ready waits until it takes part again.
func (r *heldRun) disturb(ctx context.Context, server *redistest.Server, ready func()) {
	switch rand.IntN(8) {
	case 0:
		r.ledger.loses(server.Restart)
		ready()
	case 1:
		r.ledger.loses(func() { _ = server.Client().FlushAll(ctx).Err() })
	case 2, 3:
		r.steal(server)
	case 4:
		server.Pause()
		time.Sleep(rand.N(2 * grace))
		server.Resume()
	case 5:
		_ = server.Client().Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err()
	default:
		_ = server.Client().Do(ctx, "CLIENT", "KILL", "TYPE", "normal").Err()
	}
}

// steal removes the marks from a server, as an eviction would.
func (r *heldRun) steal(server *redistest.Server) {
	r.ledger.loses(func() {
		if marks := marksIn(server); len(marks) > 0 {
			_ = server.Client().Unlink(context.Background(), marks...).Err()
		}
	})
}

// marksIn returns the keys of a server that hold marks.
func marksIn(server *redistest.Server) (marks []string) {
	ctx, client := context.Background(), server.Client()
	keys := client.Scan(ctx, 0, "cw:*", 1000).Iterator()
	for keys.Next(ctx) {
		if client.GetRange(ctx, keys.Val(), 0, 1).Val() == "!!" {
			marks = append(marks, keys.Val())
		}
	}
	return marks
}

// checkEnd fails the test unless a second after the last hold no mark is left, and the cache
// answers again. What clients could not tell a Redis that was away goes first: until then, they do
// not read what it covers.
func (r *heldRun) checkEnd(t *testing.T, m *member, servers ...*redistest.Server) {
	t.Helper()
	time.Sleep(maxHold + r.longer + time.Second)
	for _, server := range servers {
		if marks := marksIn(server); len(marks) > 0 {
			t.Errorf("%d marks are left a second after the last hold", len(marks))
		}
	}
	r.waitDelivered(t)
	r.operate(t.Context())
	keys := longLived()
	for range 2 { // the second time, everything is cached
		r.loads.Store(0)
		for _, key := range keys {
			if _, err := cache.Fetch(t.Context(), m.client, key, func(context.Context) (value, error) { return r.load(key), nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	if loads := r.loads.Load(); loads > int64(len(keys)/20) {
		t.Errorf("%d of %d values were loaded again after the last hold", loads, len(keys))
	}
}

// waitDelivered waits until Redis has all invalidations and releases of the clients.
func (r *heldRun) waitDelivered(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); r.answers.queued() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d invalidations and releases still wait although Redis is back", r.answers.queued())
		}
	}
}

// longLived returns the keys of the operations whose entries do not soon become stale.
func longLived() (keys []cache.Key) {
	for operation := range operations {
		if operation == soonStale {
			continue
		}
		for user := range userIDs + 1 {
			for id := range ids {
				keys = append(keys, keyOf(operation, user, id))
			}
		}
	}
	return keys
}
