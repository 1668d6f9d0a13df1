// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
)

// readiness is what a probe of a pod gets.
func readiness(m *repository.Monitor) (status int, body string) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", http.NoBody))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestAMonitorSaysWhetherTheDatabaseAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeDB()
		m := fake.opened(t).Monitor(repository.Every(10 * time.Second))
		if status, _ := readiness(m); status != http.StatusServiceUnavailable || m.Figures().Up {
			t.Errorf("before the first probe it is %d", status)
		}
		fake.statement = func(query string) error { // before it is in use
			if query == "SELECT 1" {
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var ended bool
		go func() {
			m.Run(ctx)
			ended = true
		}()
		time.Sleep(time.Second)
		f := m.Figures()
		if status, body := readiness(m); status != http.StatusOK || body != "the database answers" || f.Latency != 20*time.Millisecond {
			t.Errorf("it is %d %q, latency %s", status, body, f.Latency)
		}
		if !f.Up || f.Err != nil || f.Probes != 1 || f.Since != began.Add(20*time.Millisecond) || f.System != "77" || f.Timeline != 1 {
			t.Errorf("got %+v", f)
		}

		fake.change(func(f *fakeDB) { f.statement = func(string) error { return errLost } })
		time.Sleep(time.Minute) // pauses of 0.1, 0.2, 0.4 … up to 10 s, each shortened by up to a half
		f = m.Figures()
		if status, body := readiness(m); status != http.StatusServiceUnavailable || body != "the database does not answer" {
			t.Errorf("it is %d %q", status, body)
		}
		if f.Up || !errors.Is(f.Err, errLost) || f.Failures < 9 || f.Failures > 20 || f.Latency != 0 || f.Since.Before(began.Add(10*time.Second)) {
			t.Errorf("got %+v", f)
		}

		fake.change(func(f *fakeDB) { f.statement = func(string) error { return nil } })
		time.Sleep(10 * time.Second)
		if !m.Figures().Up {
			t.Error("its return was not seen")
		}
		cancel()
		synctest.Wait()
		if !ended {
			t.Error("Run goes on")
		}
	})
}

func TestAMonitorTellsABusyPoolFromADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeDB()
		pool := fake.pool(t)
		pool.SetMaxOpenConns(1)
		conn, err := pool.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		db, err := repository.Open(pool, repository.Postgres)
		if err != nil {
			t.Fatal(err)
		}
		m := db.Monitor()
		ctx, cancel := context.WithCancel(t.Context())
		go m.Run(ctx)
		time.Sleep(time.Minute)
		if status, body := readiness(m); status != http.StatusServiceUnavailable || body != repository.ErrPoolBusy.Error() {
			t.Errorf("it is %d %q", status, body)
		}
		if f := m.Figures(); !errors.Is(f.Err, repository.ErrPoolBusy) || f.Pool.InUse != 1 {
			t.Errorf("got %+v", f)
		}
		cancel()
		synctest.Wait()
	})
}

// Each row lets the database be another one, or an older one, than before.
func TestAMonitorInvalidatesWhenTheDatabaseWentBack(t *testing.T) {
	t.Parallel()
	rows := map[string]struct {
		change func(*fakeDB)
		back   bool
	}{
		"goes on":           {func(f *fakeDB) { f.position++ }, false},
		"stands still":      {func(*fakeDB) {}, false},
		"went back":         {func(f *fakeDB) { f.position-- }, true},
		"has a new history": {func(f *fakeDB) { f.timeline, f.position = "00000002", 999 }, true},
		"is another one":    {func(f *fakeDB) { f.system, f.position = "78", 999 }, true},
		"does not tell":     {func(f *fakeDB) { f.identity = stateError("42501") }, false},
		"is a standby":      {func(f *fakeDB) { f.standby, f.position = true, 1 }, false},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				fake, c := newFakeDB(), cachetest.New(cachetest.WithDefaultTTL(hour))
				db := fake.opened(t, repository.WithCache(c), quiet())
				m := db.Monitor(repository.Every(time.Second), repository.Invalidates("users", "orders"))
				ctx, cancel := context.WithCancel(t.Context())
				go m.Run(ctx)
				time.Sleep(1500 * time.Millisecond)
				order := cache.Key{Module: "orders", Operation: "getById"}
				if !cached(t, c, ada) || !cached(t, c, order) {
					t.Error("it was invalidated without a reason")
				}
				fake.change(row.change)
				c.Fail(errors.New("not queued")) // the first call fails
				time.Sleep(time.Second)
				c.Fail(nil)
				time.Sleep(time.Second)
				for _, key := range []cache.Key{ada, order} {
					found, err := c.Get(t.Context(), key, new(int))
					if err != nil || found == row.back {
						t.Errorf("%s is there: %v, %v", key.Module, found, err)
					}
				}
				if got := m.Figures().WentBack; got != int64(count(row.back)) {
					t.Errorf("it went back %d times", got)
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}
