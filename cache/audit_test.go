// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
)

// source is what an application reads. A test says what each load does before it returns.
type source struct {
	mu     sync.Mutex
	value  string
	err    error
	loads  int
	before map[int]func() // by the number of the load, from 1
}

func (s *source) set(value string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value, s.err = value, err
}

func (s *source) load(context.Context) (string, error) {
	s.mu.Lock()
	s.loads++
	before := s.before[s.loads]
	s.mu.Unlock()
	if before != nil {
		before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value, s.err
}

func (s *source) loaded() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads
}

const shortGrace = 20 * time.Millisecond

// everything is audited.
func everything() cache.Audit { return cache.Audit{Share: 1, Grace: shortGrace} }

// The loads of an audit whose entry was filled by the first.
const (
	firstOfAudit  = 2
	secondOfAudit = 3
)

// The result of an audit depends on when the source changes, and on whether an invalidation
// follows.
func TestAuditTellsAMissingInvalidationFromOneUnderWay(t *testing.T) {
	type scene struct {
		cache  *cache.Client
		source *source
		key    cache.Key
	}
	invalidate := func(t *testing.T, s scene) {
		t.Helper()
		if err := s.cache.InvalidateOperation(t.Context(), s.key.Module, s.key.Operation); err != nil {
			t.Error(err)
		}
	}
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	for name, test := range map[string]struct {
		// change happens between the fill and the audited hit, during happens in a load of the audit.
		change func(*testing.T, scene)
		during map[int]func(*testing.T, scene)
		want   cache.AuditResult
		loads  int // of the audit
	}{
		"no change": {
			want: cache.AuditConsistent, loads: 1,
		},
		"a change without an invalidation": {
			change: func(_ *testing.T, s scene) { s.source.set("new", nil) },
			want:   cache.AuditInconsistent, loads: 2,
		},
		"a removal without an invalidation": {
			change: func(_ *testing.T, s scene) { s.source.set("", cache.ErrNotFound) },
			want:   cache.AuditInconsistent, loads: 2,
		},
		"an invalidation while the audit loads": {
			change: func(_ *testing.T, s scene) { s.source.set("new", nil) },
			during: map[int]func(*testing.T, scene){firstOfAudit: invalidate},
			want:   cache.AuditInconclusive, loads: 1,
		},
		"an invalidation that comes late": {
			change: func(_ *testing.T, s scene) { s.source.set("new", nil) },
			during: map[int]func(*testing.T, scene){secondOfAudit: invalidate},
			want:   cache.AuditInconclusive, loads: 2,
		},
		"an invalidation in the grace, and a fill that stores the same again": {
			change: func(_ *testing.T, s scene) { s.source.set("new", nil) },
			during: map[int]func(*testing.T, scene){secondOfAudit: func(t *testing.T, s scene) {
				invalidate(t, s)
				lagging := func(context.Context) (string, error) { return "old", nil }
				if got, err := cache.Fetch(t.Context(), s.cache, s.key, lagging); got != "old" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
			}},
			want: cache.AuditInconclusive, loads: 2,
		},
		"a soft invalidation in the grace": {
			change: func(_ *testing.T, s scene) { s.source.set("new", nil) },
			during: map[int]func(*testing.T, scene){secondOfAudit: func(t *testing.T, s scene) {
				if err := s.cache.InvalidateSoftly(t.Context(), cache.Scope{Module: s.key.Module}); err != nil {
					t.Error(err)
				}
			}},
			want: cache.AuditInconclusive, loads: 2,
		},
		"a source that lags, and catches up": {
			change: func(_ *testing.T, s scene) { s.source.set("older", nil) },
			during: map[int]func(*testing.T, scene){secondOfAudit: func(_ *testing.T, s scene) { s.source.set("old", nil) }},
			want:   cache.AuditInconclusive, loads: 2,
		},
		"a source that fails": {
			change: func(_ *testing.T, s scene) { s.source.set("", errors.New("down")) },
			want:   cache.AuditInconclusive, loads: 1,
		},
		"a source that fails after the grace": {
			change: func(_ *testing.T, s scene) { s.source.set("new", nil) },
			during: map[int]func(*testing.T, scene){secondOfAudit: func(_ *testing.T, s scene) { s.source.set("", errors.New("down")) }},
			want:   cache.AuditInconclusive, loads: 2,
		},
		"a loader that panics": {
			during: map[int]func(*testing.T, scene){firstOfAudit: func(*testing.T, scene) { panic("boom") }},
			want:   cache.AuditInconclusive, loads: 1,
		},
	} {
		for _, near := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, near %v", name, near), func(t *testing.T) {
				key := cache.Key{Module: "users", Operation: "get", Params: t.Name()}
				reported := make(chan cache.Operation, 1)
				audit := everything()
				audit.Inconsistent = func(o cache.Operation) { reported <- o }
				options := []cache.Option{cache.WithAudit(audit), cache.WithTimeout(waitTimeout)}
				if near {
					options = append(options, cache.WithNearCache(cache.NearCache{}))
				}
				c := newCache(t, redis.NewClient(redisOptions(server.Addr())), options...)
				s := scene{c, &source{value: "old", before: map[int]func(){}}, key}
				for load, during := range test.during {
					s.source.before[load] = func() { during(t, s) }
				}
				fetch := func() {
					t.Helper()
					if got, err := cache.Fetch(t.Context(), c, key, s.source.load); got != "old" || err != nil {
						t.Fatalf("got %q, %v", got, err)
					}
				}
				fetch() // a miss
				if near {
					keepNear(t, server, c, key)
				}
				if test.change != nil {
					test.change(t, s)
				}
				fetch()
				g := NewWithT(t)
				g.Eventually(func() map[cache.AuditResult]int64 { return results(c) }).WithTimeout(waitTimeout).ShouldNot(BeEmpty())
				if got := results(c); len(got) != 1 || got[test.want] != 1 {
					t.Errorf("got %v, want one %s", got, test.want)
				}
				if all := c.Audits(); len(all) != 1 || all[0].Operation != (cache.Operation{Module: "users", Name: "get"}) {
					t.Errorf("%+v", all)
				}
				if got := s.source.loaded() - 1; got != test.loads {
					t.Errorf("the audit loaded %d times, want %d", got, test.loads)
				}
				if test.want == cache.AuditInconsistent {
					if got := <-reported; got != (cache.Operation{Module: "users", Name: "get"}) {
						t.Errorf("reported %v", got)
					}
				} else if len(reported) != 0 {
					t.Error("reported an inconsistency")
				}
			})
		}
	}
}

// keepNear reads an entry, by the verb that is not audited, until it is kept near.
func keepNear(t *testing.T, server *redistest.Server, c cache.Cache, key cache.Key) {
	t.Helper()
	get := func() {
		var value string
		if found, err := c.Get(t.Context(), key, &value); !found || err != nil {
			t.Fatalf("got %v, %v", found, err)
		}
	}
	NewWithT(t).Eventually(func() bool {
		get()
		before := mgets(t, server)
		get()
		return mgets(t, server) == before
	}).WithTimeout(waitTimeout).Should(BeTrue(), "the entry is not kept")
}

// results adds up the results of audits.
func results(c *cache.Client) map[cache.AuditResult]int64 {
	sum := map[cache.AuditResult]int64{}
	for _, stats := range c.Audits() {
		sum[cache.AuditConsistent] += stats.Consistent
		sum[cache.AuditInconsistent] += stats.Inconsistent
		sum[cache.AuditInconclusive] += stats.Inconclusive
	}
	maps.DeleteFunc(sum, func(_ cache.AuditResult, n int64) bool { return n == 0 })
	return sum
}

// Many readers and writers, every hit audited: if each change is followed by its invalidation,
// nothing is inconsistent. If one writer forgets it, something is.
func TestAuditCountsWhatIsForgottenAndNothingElse(t *testing.T) {
	for _, forgetful := range []bool{false, true} {
		t.Run(fmt.Sprintf("forgetful %v", forgetful), func(t *testing.T) {
			server := redistest.Start(t)
			applyPolicy(t, server.Client(), "users", hour())
			// The grace is far more than an invalidation takes, on a busy machine too.
			audit := cache.Audit{Share: 1, Grace: time.Second}
			near := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{}, cache.WithAudit(audit))
			far := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithAudit(audit))
			const keys = 8
			var versions [keys]atomic.Int64
			key := func(i int) cache.Key { return cache.Key{Module: "users", Operation: "get", Params: i} }

			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var workers sync.WaitGroup
			for _, c := range []*cache.Client{near, far} {
				workers.Go(func() {
					for ctx.Err() == nil {
						i := rand.IntN(keys)
						_, err := cache.Fetch(t.Context(), c, key(i), func(context.Context) (int64, error) { return versions[i].Load(), nil })
						if err != nil {
							t.Error(err)
						}
						time.Sleep(rand.N(readPause))
					}
				})
			}
			workers.Go(func() {
				for ctx.Err() == nil {
					i := rand.IntN(keys)
					versions[i].Add(1)
					if forgetful && i == 0 {
						continue
					}
					if err := far.Delete(t.Context(), key(i)); err != nil {
						t.Error(err)
					}
					time.Sleep(rand.N(4 * readPause))
				}
			})
			found := func(result cache.AuditResult) func() int64 {
				return func() int64 { return results(near)[result] + results(far)[result] }
			}
			g := NewWithT(t)
			g.Eventually(found(cache.AuditConsistent)).WithTimeout(waitTimeout).Should(BeNumerically(">", 100))
			if forgetful {
				g.Eventually(found(cache.AuditInconsistent)).WithTimeout(waitTimeout).Should(BeNumerically(">", 0))
			} else {
				g.Eventually(found(cache.AuditInconclusive)).WithTimeout(waitTimeout).Should(BeNumerically(">", 10))
			}
			stop()
			workers.Wait()
			if n := found(cache.AuditInconsistent)(); !forgetful && n > 0 {
				t.Errorf("%d inconsistent reads, and none was", n)
			}
		})
	}
}
