// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
)

// ada is an entry that tests touch, and its transactions.
var ada = cache.Key{Module: "users", Operation: "getById", Params: 1}

func touchAda(ctx context.Context) error { return repository.Touch(ctx, ada) }

// cached says whether the cache stores and serves a key.
func cached(t *testing.T, c cache.Cache, key cache.Key) bool {
	t.Helper()
	loads := 0
	for range 2 {
		_, err := cache.Fetch(context.WithoutCancel(t.Context()), c, key, func(context.Context) (int, error) {
			loads++
			return 1, nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	return loads < 2
}

func quiet() repository.Option { return repository.WithLogger(slog.New(slog.DiscardHandler)) }

func TestWhatIsTouchedIsHeldInCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake, c := newFakeDB(), cachetest.New(cachetest.WithDefaultTTL(hour))
		db := fake.opened(t, repository.WithCache(c))
		fake.commit = func() error {
			if cached(t, c, ada) {
				t.Error("it is cached in COMMIT")
			}
			time.Sleep(time.Minute) // renewals bridge a slow COMMIT
			if cached(t, c, ada) {
				t.Error("it is cached in a slow COMMIT")
			}
			return nil
		}
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			if err := touchAda(ctx); err != nil {
				return err
			}
			if !cached(t, c, ada) {
				t.Error("it is not cached before COMMIT")
			}
			return nil
		})
		if want := (repository.Stats{Committed: 1}); err != nil || db.Stats() != want || !cached(t, c, ada) {
			t.Errorf("%v, %+v, cached afterwards: %v", err, db.Stats(), cached(t, c, ada))
		}
	})
}

// Each row lets COMMIT end in a way. What InTx says must be what the database has.
func TestCommitsThatFail(t *testing.T) {
	t.Parallel()
	answers := func(status, timeline string, err error) func() (string, string, error) {
		return func() (string, string, error) { return status, timeline, err }
	}
	rows := map[string]struct {
		commit error
		status func() (string, string, error)
		change func(*fakeDB)
		opts   []repository.TxOption
		runs   int
		want   error
		held   bool // afterwards
	}{
		"refused":                   {commit: stateError("23505"), runs: 1, want: repository.ErrConstraint},
		"too late":                  {commit: stateError("25P03"), runs: 1, want: stateError("25P03")},
		"lost and committed":        {commit: errLost, status: answers("committed", server, nil), runs: 1},
		"shut down and committed":   {commit: stateError("57P01"), status: answers("committed", server, nil), runs: 1},
		"out of disk and committed": {commit: stateError("53100"), status: answers("committed", server, nil), runs: 1},
		"lost and aborted":          {commit: errLost, status: answers("aborted", server, nil), runs: 2},
		"lost for good":             {commit: errLost, status: answers("aborted", server, nil), opts: []repository.TxOption{repository.Attempts(1)}, runs: 1, want: errLost},
		"lost and forgotten":        {commit: errLost, status: answers("forgotten", server, nil), runs: 1, want: repository.ErrOutcomeUnknown, held: true},
		"lost and failed over":      {commit: errLost, status: answers("committed", "another", nil), runs: 1, want: repository.ErrOutcomeUnknown, held: true},
		"lost, aborted elsewhere":   {commit: errLost, status: answers("aborted", "another", nil), runs: 2},
		"lost, open elsewhere":      {commit: errLost, status: answers("in progress", "another", nil), runs: 2},
		"lost and never heard of":   {commit: errLost, status: answers("", "", stateError("22023")), runs: 2},
		"lost and may not ask":      {commit: errLost, status: answers("", "", stateError("42501")), runs: 1, want: repository.ErrOutcomeUnknown, held: true},
		"lost without a change": {
			commit: errLost, status: answers("", "", errors.New("must not be asked")),
			change: func(f *fakeDB) { f.noID = true }, runs: 2,
		},
		"lost, read-only": {
			commit: errLost, status: answers("", "", errors.New("must not be asked")),
			opts: []repository.TxOption{repository.ReadOnly()}, runs: 2,
		},
		"lost, open, then committed": {commit: errLost, status: sequence("in progress", "in progress", "committed"), runs: 1},
		"lost, away, then committed": {commit: errLost, status: sequence("!57P03", "!lost", "committed"), runs: 1},
		"lost, standby, then aborted": {
			commit: errLost, status: sequence("standby", "aborted"), opts: []repository.TxOption{repository.Attempts(1)}, runs: 1, want: errLost,
		},
		"lost and away for ever": {commit: errLost, status: answers("", "", errLost), runs: 1, want: repository.ErrOutcomeUnknown, held: true},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				fake, c := newFakeDB(), cachetest.New(cachetest.WithDefaultTTL(hour))
				db := fake.opened(t, repository.WithCache(c), quiet())
				if row.change != nil {
					row.change(fake)
				}
				commits, runs, after, undone := 0, 0, 0, 0
				fake.commit = func() error {
					commits++
					if commits == 1 {
						return row.commit
					}
					return nil
				}
				fake.status = func() (string, string, error) {
					if cached(t, c, ada) && row.runs == 1 {
						t.Error("it is cached before the outcome is known")
					}
					return row.status()
				}
				err := db.InTx(t.Context(), func(ctx context.Context) error {
					runs++
					repository.AfterCommit(ctx, func(context.Context) { after++ })
					repository.AfterRollback(ctx, func(context.Context) { undone++ })
					if len(row.opts) > 0 && row.runs == 2 { // read-only
						return nil
					}
					return touchAda(ctx)
				}, row.opts...)
				if !errors.Is(err, row.want) || runs != row.runs {
					t.Errorf("%d runs, %v; want %d, %v", runs, err, row.runs, row.want)
				}
				unknown := errors.Is(row.want, repository.ErrOutcomeUnknown)
				if wantAfter := count(row.want == nil); after != wantAfter || undone != row.runs-wantAfter-count(unknown) {
					t.Errorf("%d functions after commits, %d after rollbacks", after, undone)
				}
				if got := cached(t, c, ada); got == row.held {
					t.Errorf("cached afterwards: %v", got)
				}
				time.Sleep(10*time.Minute + time.Millisecond)
				if !cached(t, c, ada) {
					t.Error("it is not cached after ten minutes")
				}
			})
		})
	}
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

// sequence answers questions one after the other: with a status, or with an error behind '!'.
func sequence(answers ...string) func() (string, string, error) {
	next := 0
	return func() (string, string, error) {
		answer := answers[next]
		next++
		switch state, failed := strings.CutPrefix(answer, "!"); {
		case failed && state == "lost":
			return "", "", errLost
		case failed:
			return "", "", stateError(state)
		}
		return answer, server, nil
	}
}

func TestACommitThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake, c := newFakeDB(), cachetest.New(cachetest.WithDefaultTTL(hour))
		db := fake.opened(t, repository.WithCache(c), quiet())
		hang := make(chan struct{})
		fake.commit = func() error {
			<-hang
			return nil
		}
		fake.status = func() (string, string, error) { return "in progress", server, nil }
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		began := time.Now()
		err := db.InTx(ctx, touchAda)
		if took := time.Since(began); !errors.Is(err, repository.ErrOutcomeUnknown) || took < 25*time.Second || took > 27*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
		if cached(t, c, ada) {
			t.Error("it is cached, though it may be committed yet")
		}
		close(hang)
		synctest.Wait()
		fake.mu.Lock()
		defer fake.mu.Unlock()
		if fake.open > 1 { // the one that asked
			t.Errorf("%d connections are open", fake.open)
		}
	})
}

func TestACommitOutlivesItsContextForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeDB()
		db := fake.opened(t)
		fake.commit = func() error {
			time.Sleep(4 * time.Second)
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := db.InTx(ctx, func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

func TestWithoutTheCacheATransactionIsCommittedOrRefused(t *testing.T) {
	t.Parallel()
	rows := map[repository.CacheAway]struct {
		history string
		want    error
		stats   repository.Stats
	}{
		repository.CommitAnyway: {"BEGIN; COMMIT", nil, repository.Stats{Committed: 1, Unprotected: 1}},
		repository.Refuse:       {"BEGIN; ROLLBACK", repository.ErrUnprotected, repository.Stats{RolledBack: 1, Unprotected: 1}},
	}
	for away, row := range rows {
		fake, c := newFakeDB(), cachetest.New(cachetest.WithDefaultTTL(hour))
		var log strings.Builder
		db := fake.opened(t, repository.WithCache(c), repository.OnCacheAway(away), repository.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		c.Fail(errOurs)
		err := db.InTx(t.Context(), touchAda)
		if !errors.Is(err, row.want) || fake.history() != row.history || db.Stats() != row.stats {
			t.Errorf("%d: %v, %s, %+v", away, err, fake.history(), db.Stats())
		}
		calls := c.Calls()
		if last := calls[len(calls)-1]; last.Method != "Release" {
			t.Errorf("%d: the last call is %s", away, last.Method)
		}
		if got := strings.Count(log.String(), "level=WARN"); got != 1 {
			t.Errorf("%d: logged %d times: %s", away, got, log.String())
		}
	}
}

func TestAHoldThatWasSlowIsRenewedBeforeCommit(t *testing.T) {
	t.Parallel()
	for _, failing := range []bool{false, true} {
		t.Run(fmt.Sprint(failing), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				fake, c := newFakeDB(), cachetest.New(cachetest.WithDefaultTTL(hour))
				slow := &slowHolder{Fake: c}
				db := fake.opened(t, repository.WithCache(slow), repository.OnCacheAway(repository.Refuse), quiet())
				slow.after = func() {
					time.Sleep(3 * time.Second)
					if failing {
						c.Fail(errOurs)
					}
				}
				err := db.InTx(t.Context(), touchAda)
				if failing != errors.Is(err, repository.ErrUnprotected) {
					t.Errorf("got %v", err)
				}
				var methods []string
				for _, call := range c.Calls() {
					methods = append(methods, call.Method)
				}
				if got := strings.Join(methods, " "); got != "Hold Renew Release" {
					t.Errorf("called %s", got)
				}
			})
		})
	}
}

// slowHolder does something after each Hold.
type slowHolder struct {
	*cachetest.Fake
	after func()
}

func (s *slowHolder) Hold(ctx context.Context, ttl time.Duration, on ...cache.Covered) (cache.Hold, error) {
	defer s.after()
	return s.Fake.Hold(ctx, ttl, on...)
}

func TestAHoldThatWasLostIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake, c := newFakeDB(), cachetest.New(cachetest.WithDefaultTTL(hour))
		db := fake.opened(t, repository.WithCache(c), quiet())
		fake.commit = func() error {
			c.Fail(errOurs)
			time.Sleep(time.Minute)
			c.Fail(nil)
			return nil
		}
		err := db.InTx(t.Context(), touchAda)
		if want := (repository.Stats{Committed: 1, HoldsLost: 1}); err != nil || db.Stats() != want {
			t.Errorf("%v, %+v", err, db.Stats())
		}
	})
}

func TestReplicasThatLagAreWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake, c := newFakeDB(), cachetest.New(cachetest.WithDefaultTTL(hour))
		db := fake.opened(t, repository.WithCache(c), repository.ReplicaLag(time.Minute))
		if err := db.InTx(t.Context(), touchAda); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute - time.Millisecond)
		if cached(t, c, ada) {
			t.Error("it is cached within the lag")
		}
		time.Sleep(2 * time.Millisecond)
		if !cached(t, c, ada) {
			t.Error("it is not cached after the lag")
		}
		if err := db.InTx(t.Context(), func(ctx context.Context) error { return errors.Join(touchAda(ctx), errOurs) }); !errors.Is(err, errOurs) {
			t.Error(err)
		}
	})
}

func TestFetchInATransactionPassesTheCacheBy(t *testing.T) {
	t.Parallel()
	fake, c := newFakeDB(), cachetest.New(cachetest.WithDefaultTTL(hour))
	db, other := fake.opened(t, repository.WithCache(c)), newFakeDB().opened(t, repository.WithCache(c))
	fetch := func(ctx context.Context, db *repository.DB, value int) int {
		got, err := repository.Fetch(ctx, db, ada, func(context.Context) (int, error) { return value, nil })
		if err != nil {
			t.Error(err)
		}
		return got
	}
	fetch(t.Context(), db, 1)
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		if got := fetch(ctx, db, 2); got != 2 {
			t.Errorf("read %d in the transaction", got)
		}
		if got := fetch(ctx, other, 3); got != 1 {
			t.Errorf("read %d of another database", got)
		}
		return nil
	})
	if got := fetch(t.Context(), db, 4); err != nil || got != 1 {
		t.Errorf("read %d afterwards: %v", got, err)
	}
}

func TestAPanicOfAHookLetsTheOthersRun(t *testing.T) {
	t.Parallel()
	fake, c := newFakeDB(), cachetest.New(cachetest.WithDefaultTTL(hour))
	db := fake.opened(t, repository.WithCache(c))
	var called []int
	defer func() {
		if recover() != "first" || len(called) != 2 || !cached(t, c, ada) {
			t.Errorf("called %v", called)
		}
	}()
	_ = db.InTx(t.Context(), func(ctx context.Context) error {
		repository.AfterCommit(ctx, func(context.Context) { panic("first") })
		for i := range 2 {
			repository.AfterCommit(ctx, func(context.Context) { called = append(called, i) })
		}
		return touchAda(ctx)
	})
	t.Error("the panic did not go on")
}
