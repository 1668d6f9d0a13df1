// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/cachewright/cachewright/repository"
)

// watch notes what the database has.
func (r *run) watch(query func(context.Context, string, ...any) (*sql.Rows, error)) error {
	found, err := query(context.Background(), "SELECT id, version FROM items")
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var id, version int64
		if err := found.Scan(&id, &version); err != nil {
			return err
		}
		r.ledger.show(id, version)
	}
	return found.Err()
}

// report logs what happened, and returns the reads that broke the rules.
func (r *run) report(t *testing.T) (violations []string, excused map[string]int) {
	t.Helper()
	violations, excused = r.ledger.judge()
	text := ""
	r.ended.Range(func(what, n any) bool {
		text += fmt.Sprintf(", %s %d", what, n.(interface{ Load() int64 }).Load())
		return true
	})
	t.Logf("%d reads, %d of them hits; %d commits, %d conflicts, %d refused%s; %d reads were stale, excused: %v, violations: %d",
		r.reads.Load(), r.hits(), r.commits.Load(), r.conflicts.Load(), r.refused.Load(), text,
		r.ledger.stale.Load(), excused, len(violations))
	return violations, excused
}

// check fails the test if reads broke the rules, or too little happened to tell.
func (r *run) check(t *testing.T, enough func() bool) (excused map[string]int) {
	t.Helper()
	violations, excused := r.report(t)
	for n, v := range violations {
		if n == 10 {
			break
		}
		t.Error(v)
	}
	if !enough() {
		t.Error("too little happened: the test proves nothing")
	}
	return excused
}

// checkRest fails the test unless no mark is left once all holds have ended, and soon everything is
// cached again, as the database has it.
func (r *run) checkRest(t *testing.T) {
	t.Helper()
	r.ctx = t.Context()
	for end := time.Now().Add(time.Minute); len(r.marks()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d marks are left", len(r.marks()))
		}
	}
	pool := r.backend.connect(t, r.dsn)
	if err := r.watch(pool.QueryContext); err != nil {
		t.Fatal(err)
	}
	reader := r.open(t)
	for end := time.Now().Add(time.Minute); ; {
		stale := r.ledger.stale.Load()
		reader.queries.Store(0)
		for range 100 {
			if err := reader.read(t.Context(), &r.ledger); err != nil {
				t.Fatal(err)
			}
		}
		stale = r.ledger.stale.Load() - stale
		if reader.queries.Load() == 0 && stale == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("of 100 reads, %d were not cached, and %d stale", reader.queries.Load(), stale)
		}
	}
}

// shareOf is a part of the reads of a long run, and all of a short one.
func shareOf(part int64) int64 {
	if n := chaosReads(); n > shortRun {
		return n / part
	}
	return chaosReads()
}

// shortRun is the longest run that ends as soon as it has met everything once.
const shortRun = 10_000

// proves says whether enough happened, at least, for a run to prove something.
func (r *run) proves(reads int64) bool {
	return r.reads.Load() >= reads && r.hits() > reads/10 && r.commits.Load() > 20
}

// happened says whether each end was met so often.
func (r *run) happened(n int64, ends ...end) bool {
	for _, e := range ends {
		if r.end(e).Load() < n {
			return false
		}
	}
	return true
}

var chaosBackends = []backend{backends[0], backends[2], backends[3]}

// Writers are killed and frozen around COMMIT, some COMMITs take longer than their hold, and Redis
// is killed, frozen and cut off. Transactions whose hold fails are refused. No read fails, and none
// is older than what was committed before it began.
func TestNoReadIsStaleWhileWritersDieAndRedisIsAway(t *testing.T) {
	for _, b := range chaosBackends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, b, ours)
			r.start(t, 3)
			kills := []end{killedAfter, killedBefore, killedIn}
			freezes := []end{frozenBefore, frozenAfter}
			r.group.Go(func() { r.send(t, 4, kills...) })
			r.group.Go(func() { r.send(t, 4, freezes...) })
			always := []end{"disturbance of Redis"}
			if b.dialect == repository.Postgres {
				r.writeSlowly(t)
				always = append(always, "slow COMMIT")
			}
			r.disturb(r.freezeRedis, r.killRedis, r.cutRedis)
			reads := chaosReads()
			if b.dialect != repository.Postgres {
				reads = shareOf(10)
			}
			each := min(1+reads/6000, 200) // 500 kills in a million reads
			enough := func() bool {
				return r.proves(reads) && r.happened(each, kills...) && r.happened(1, freezes...) && r.happened(1, always...)
			}
			r.until(enough)
			if excused := r.check(t, enough); excused[notHeld] > 0 {
				t.Errorf("what could not be held was committed, and hidden: %v", excused)
			}
			r.checkRest(t)
		})
	}
}

// Redis is away for longer than transactions wait for it, and they commit anyway. Only what they
// committed without a hold may be hidden by the cache, and not once Redis is back.
func TestOnlyCommitsWithoutAHoldAreHidden(t *testing.T) {
	for _, b := range chaosBackends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, b, ours)
			r.away = repository.CommitAnyway
			r.start(t, 4)
			r.disturb(r.freezeRedis, r.killRedis, r.cutRedis)
			unprotected := func() bool {
				r.ledger.mu.Lock()
				defer r.ledger.mu.Unlock()
				return len(r.ledger.excused) > 2
			}
			enough := func() bool { return r.proves(shareOf(10)) && unprotected() }
			r.until(enough)
			r.check(t, enough)
			r.checkRest(t)
		})
	}
}

// Redis loses marks: it is emptied, or evicts them. Commits around that may be hidden, and stay so
// if their writer died: nothing else is.
func TestOnlyCommitsWhoseMarksWereLostAreHidden(t *testing.T) {
	r := newRun(t, backends[0], ours)
	r.start(t, 3)
	r.group.Go(func() { r.send(t, 8, killedAfter, killedBefore, killedIn) })
	r.disturb(r.evictMarks, func() { r.flushRedis(t) }, func() {
		select { // commits that no loss excuses
		case <-time.After(2 * lossWindow):
		case <-r.ctx.Done():
		}
	})
	enough := func() bool {
		return r.proves(shareOf(10)) && r.happened(1, killedAfter, killedBefore, killedIn) && r.happened(3, "disturbance of Redis")
	}
	r.until(enough)
	r.check(t, enough)
}

// The same check finds stale reads with the protocols of others, and with ours if a part of it is
// missing.
func TestTheCheckFindsWhatOtherProtocolsMiss(t *testing.T) {
	for _, p := range append(others, ours) {
		t.Run(p.Name, func(t *testing.T) {
			r := newRun(t, backends[0], p)
			r.start(t, 4)
			if p.Kills {
				for range 2 {
					r.group.Go(func() { r.send(t, 20, killedAfter) })
				}
			}
			if p.Slow {
				r.writeSlowly(t)
			}
			wanted, isOurs := shareOf(10), p == ours
			if !isOurs && wanted <= shortRun {
				wanted = 1 // the first stale read is enough
			}
			r.until(func() bool {
				return r.reads.Load() >= wanted && (isOurs || r.ledger.stale.Load() > 0) &&
					(!p.Kills || r.happened(1, killedAfter))
			})
			violations, _ := r.report(t)
			if found := len(violations) > 0; found == isOurs {
				t.Errorf("%d violations", len(violations))
			}
		})
	}
}
