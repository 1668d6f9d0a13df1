// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
	"github.com/cachewright/cachewright/repository"
)

// chaosReads is how many reads a run makes: CHAOS_DB_READS, default 1,500.
func chaosReads() int64 {
	if n, err := strconv.ParseInt(os.Getenv("CHAOS_DB_READS"), 10, 64); err == nil && n > 0 {
		return n
	}
	return 1500
}

// run is readers and writers of the items of one database, with one Redis.
type run struct {
	backend  backend
	protocol protocol
	away     repository.CacheAway
	dsn      string
	redis    *redistest.Server
	ledger   ledger

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup

	readers                            []*items
	reads, commits, conflicts, refused atomic.Int64
	ended                              sync.Map // by end: *atomic.Int64
}

// openChaosCache returns a client that does not wait long for a Redis that is away.
func openChaosCache(addr string) (c *cache.Client, closeAll func(), err error) {
	client := redis.NewClient(&redis.Options{
		Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1, ReadTimeout: time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	c, err = cache.New(client, "bank", cache.WithTimeout(500*time.Millisecond), cache.WithLogger(slog.New(slog.DiscardHandler)))
	return c, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if c != nil {
			_ = c.Close(ctx)
		}
		_ = client.Close()
	}, err
}

// newRun makes the tables of a run, and a Redis whose data outlive it. A test may kill that Redis
// without a loss of marks.
func newRun(t *testing.T, b backend, p protocol) *run {
	t.Helper()
	r := &run{backend: b, protocol: p, away: repository.Refuse, dsn: b.dsn(t)}
	r.redis = redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no")
	r.load(t)
	pool := b.connect(t, r.dsn)
	g := b.openGorm(t, pool)
	if err := g.AutoMigrate(&Item{}); err != nil {
		t.Fatal(err)
	}
	for id := int64(1); id <= rows; id++ {
		execute(t, pool, b.sql("INSERT INTO items (id, slug, author_id, version) VALUES (?, ?, ?, 1)"), id, slugOf(id), 1+id%authors)
	}
	for author := int64(1); author <= authors; author++ {
		id := counter + author
		execute(t, pool, b.sql("INSERT INTO items (id, slug, author_id, version) VALUES (?, ?, ?, 1)"), id, slugOf(id), author)
	}
	if b.dialect == repository.Postgres {
		execute(t, pool, `CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN PERFORM pg_sleep(coalesce(nullif(current_setting(''chaos.nap'', true), '''')::float, 0)); RETURN NULL; END'`)
		execute(t, pool, `CREATE CONSTRAINT TRIGGER nap AFTER UPDATE ON items DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION nap()`)
	}
	r.ctx, r.cancel = inTime(t)
	t.Cleanup(r.cancel)
	return r
}

// inTime ends a run a minute before the test's deadline, so that the test can still say why.
func inTime(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	if end, limited := t.Deadline(); limited {
		return context.WithDeadline(t.Context(), end.Add(-time.Minute))
	}
	return context.WithCancel(t.Context())
}

// fence is the part of the library that refuses the fill of a load that an invalidation overtook.
const fence = "if token ~= heads.token and is_fenced(slot, op, member, heads, token) then"

// load puts the policy in force, and a library without fences where the protocol has none.
func (r *run) load(t *testing.T) {
	t.Helper()
	client := r.redis.Client()
	_, err := registry.New(client).ApplyPolicy(t.Context(), registry.Slot{Namespace: "bank", Module: itemModule},
		registry.Policy{DefaultTTL: new(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if !r.protocol.Unfenced {
		return
	}
	version := "local VERSION = " + strconv.Itoa(registry.LibraryVersion) + "\n"
	if strings.Count(registry.Library, fence) != 1 || strings.Count(registry.Library, version) != 1 {
		t.Fatal("the library has another fence, or another version")
	}
	mutant := strings.NewReplacer(fence, "if false then", version, "local VERSION = 1000000\n").Replace(registry.Library)
	if err := client.FunctionLoadReplace(t.Context(), mutant).Err(); err != nil {
		t.Fatal(err)
	}
}

// open opens the items for a reader or writer of this process.
func (r *run) open(t *testing.T) *items {
	t.Helper()
	client, closeAll, err := openChaosCache(r.redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeAll)
	pause := func() { time.Sleep(rand.N(3 * time.Millisecond)) }
	i, err := openItems(r.backend, r.dsn, &holder{Client: client, protocol: r.protocol, before: pause, after: pause},
		repository.OnCacheAway(r.away), repository.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.close)
	return i
}

// repeat calls do until the run ends, with pauses of a length on average.
func (r *run) repeat(pause time.Duration, do func()) {
	r.group.Go(func() {
		for r.ctx.Err() == nil {
			do()
			if pause > 0 {
				time.Sleep(rand.N(2 * pause))
			}
		}
	})
}

// fail ends the run.
func (r *run) fail(t *testing.T, what string, err error) {
	t.Helper()
	if r.ctx.Err() == nil {
		t.Errorf("%s: %v", what, err)
		r.cancel()
	}
}

// start runs readers, and writers of this process.
func (r *run) start(t *testing.T, writers int) {
	t.Helper()
	watching := r.backend.connect(t, r.dsn)
	r.repeat(0, func() {
		if err := r.watch(watching.QueryContext); err != nil {
			r.fail(t, "watching the database", err)
		}
		time.Sleep(100 * time.Microsecond)
	})
	for range 2 {
		reader := r.open(t)
		reader.reads.Store(true)
		r.readers = append(r.readers, reader)
		for range 4 {
			r.repeat(0, func() {
				if err := reader.read(t.Context(), &r.ledger); err != nil {
					r.fail(t, "a read failed", err)
				}
				r.reads.Add(1)
			})
		}
	}
	for range writers {
		writer := r.open(t)
		r.repeat(10*time.Millisecond, func() { r.write(t, writer) })
	}
}

// write makes a transaction. If its hold failed, readers may see what was before.
func (r *run) write(t *testing.T, i *items) {
	before := i.db.Stats()
	changed, err := i.write(t.Context())
	after := i.db.Stats()
	switch {
	case err == nil:
		r.commits.Add(1)
	case errors.Is(err, repository.ErrConflict):
		r.conflicts.Add(1)
	case errors.Is(err, repository.ErrUnprotected):
		r.refused.Add(1)
	case !isHarmless(err):
		r.fail(t, "a transaction failed", err)
	}
	if err == nil || errors.Is(err, repository.ErrOutcomeUnknown) {
		switch {
		case after.Unprotected > before.Unprotected:
			r.ledger.excuse(changed, notHeld)
		case after.HoldsLost > before.HoldsLost:
			r.ledger.excuse(changed, holdLost)
		}
	}
}

// writeSlowly makes COMMITs that take longer than a hold lasts.
func (r *run) writeSlowly(t *testing.T) {
	writer := r.open(t)
	r.repeat(3*time.Second, func() { // others wait for the row meanwhile
		w := &writing{items: writer}
		err := writer.db.InTx(t.Context(), func(ctx context.Context) error {
			if _, err := writer.db.Querier(ctx).ExecContext(ctx, "SELECT set_config('chaos.nap', '1.3', true)"); err != nil {
				return err
			}
			_, err := w.patch(ctx, rows)
			return err
		})
		if err == nil {
			r.end("slow COMMIT").Add(1)
		} else if !isHarmless(err) {
			r.fail(t, "a slow transaction failed", err)
		}
	})
}

// send runs writers in processes of their own, one after another. Each makes some transactions.
func (r *run) send(t *testing.T, writes int, ends ...end) {
	for n := 0; r.ctx.Err() == nil; n++ {
		e := errand{r.backend.name, r.dsn, r.redis.Addr(), r.protocol, rand.IntN(writes), ends[n%len(ends)]}
		ended, lost, err := e.send(r.ctx)
		if err != nil {
			r.fail(t, "a writer in a process", err)
		}
		r.ledger.excuse(lost, holdLost)
		if ended {
			r.end(e.End).Add(1)
		}
	}
}

func (r *run) end(e end) *atomic.Int64 {
	found, _ := r.ended.LoadOrStore(e, new(atomic.Int64))
	return found.(*atomic.Int64)
}

// hits is the number of reads that the database did not answer.
func (r *run) hits() (n int64) {
	n = r.reads.Load()
	for _, reader := range r.readers {
		n -= reader.queries.Load()
	}
	return n
}

// until ends the run once something is so.
func (r *run) until(enough func() bool) {
	for !enough() && r.ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	r.cancel()
	r.group.Wait()
}

// disturb does something to Redis again and again, whenever the cache has served for a while.
func (r *run) disturb(pick ...func()) {
	r.group.Go(func() {
		for r.ctx.Err() == nil {
			before, began := r.hits(), time.Now()
			for r.ctx.Err() == nil && (r.hits() < before+200 || time.Since(began) < 100*time.Millisecond) {
				time.Sleep(5 * time.Millisecond)
			}
			pick[rand.IntN(len(pick))]()
			r.end("disturbance of Redis").Add(1)
		}
	})
}

// Disturbances that lose no mark.

func (r *run) freezeRedis() {
	r.redis.Pause()
	time.Sleep(rand.N(1500 * time.Millisecond))
	r.redis.Resume()
}

func (r *run) killRedis() {
	r.redis.Kill()
	time.Sleep(rand.N(1500 * time.Millisecond))
	r.redis.Restart()
}

func (r *run) cutRedis() {
	_ = r.redis.Client().Do(context.Background(), "CLIENT", "KILL", "TYPE", "normal").Err()
}

// Disturbances that lose marks.

func (r *run) flushRedis(t *testing.T) {
	r.ledger.lose(func() {
		_ = r.redis.Client().FlushDB(context.Background()).Err()
		r.load(t)
	})
}

func (r *run) evictMarks() {
	r.ledger.lose(func() {
		if marks := r.marks(); len(marks) > 0 {
			_ = r.redis.Client().Unlink(context.Background(), marks...).Err()
		}
	})
}

// marks returns the keys of Redis that hold marks.
func (r *run) marks() (marks []string) {
	ctx, client := context.Background(), r.redis.Client()
	keys := client.Scan(ctx, 0, "cw:*", 1000).Iterator()
	for keys.Next(ctx) {
		if strings.HasPrefix(client.GetRange(ctx, keys.Val(), 0, 1).Val(), "!!") {
			marks = append(marks, keys.Val())
		}
	}
	return marks
}
