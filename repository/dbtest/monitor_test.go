// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"testing"
	"time"

	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/dbtest/servers"
)

// until waits for something that a Monitor knows.
func until(t *testing.T, m *repository.Monitor, what string, is func(repository.Figures) bool) repository.Figures {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		f := m.Figures()
		if is(f) {
			return f
		}
		if time.Now().After(end) {
			t.Fatalf("waited for %s: %+v", what, f)
		}
	}
}

func monitor(t *testing.T, db *repository.DB) *repository.Monitor {
	t.Helper()
	m := db.Monitor(repository.Every(100*time.Millisecond), repository.ProbeTimeout(10*time.Second), repository.Invalidates(module))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return m
}

func TestMonitorOfEachDatabase(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		m := monitor(t, open(t, b.open(t), b.dialect))
		f := until(t, m, "three probes", func(f repository.Figures) bool { return f.Up && f.Probes > 2 })
		if f.Latency <= 0 || f.WentBack != 0 || f.Failures != 0 {
			t.Errorf("got %+v", f)
		}
		if told := f.System != "" && f.Timeline == 1; told != (b.dialect == repository.Postgres) {
			t.Errorf("it is %q, %d", f.System, f.Timeline)
		}
	})
}

// A crash loses nothing that was committed. A restore does, so nothing may be cached of what was
// after the backup.
func TestAMonitorSeesThatADatabaseWentBack(t *testing.T) {
	t.Parallel()
	server, err := servers.StartPostgres()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	b := backends[0]
	pool := b.openAt(t, b.dsnOn(t, server, server.Addr()))
	server.Backup()
	db := open(t, pool, b.dialect, repository.WithCache(newCache(t, startRedis(t).Addr())))
	m := monitor(t, db)
	for range 3 { // connections that broke may be left
		if err := pay(t.Context(), db, b, 1, 50); err == nil {
			break
		}
	}
	cachedBalance(t, b, db, 1)
	if got, hit := cachedBalance(t, b, db, 1); got != 50 || !hit {
		t.Fatalf("read %d, cached: %v", got, hit)
	}
	until(t, m, "an answer", func(f repository.Figures) bool { return f.Up })
	server.Kill()
	until(t, m, "no answer", func(f repository.Figures) bool { return !f.Up })
	server.Restart()
	f := until(t, m, "an answer after a crash", func(f repository.Figures) bool { return f.Up })
	if got, hit := cachedBalance(t, b, db, 1); got != 50 || !hit || f.WentBack != 0 {
		t.Errorf("after a crash, read %d, cached: %v, %+v", got, hit, f)
	}
	server.Restore()
	until(t, m, "an older state", func(f repository.Figures) bool { return f.WentBack == 1 })
	until(t, m, "an invalidation", func(repository.Figures) bool {
		got, _ := cachedBalance(t, b, db, 1)
		return got == 100
	})
}
