// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// longWait is how long processes wait for another's load at most, in tests in which they are not
// to.
const longWait = time.Minute

// newProcesses are clients of one Redis, each as another process has it, where entries are at most
// 20 bytes.
func newProcesses(t *testing.T, n int) []*cache.Client {
	t.Helper()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", registry.Policy{Operations: []registry.OperationPolicy{
		{Name: "get", TTL: time.Hour, MaxEntryBytes: 20},
	}})
	var processes []*cache.Client
	for range n {
		processes = append(processes, newCache(t, redis.NewClient(redisOptions(server.Addr())),
			cache.WithTimeout(waitTimeout), cache.WithLoadWait(longWait)))
	}
	return processes
}

// fetching is a Fetch under way.
type fetching struct {
	begun, release chan struct{}
	done           chan string
}

// beginFetch begins a Fetch. Its load, if there is one, waits to be released.
func beginFetch(t *testing.T, c cache.Cache, load func() (string, error)) fetching {
	t.Helper()
	f := fetching{begun: make(chan struct{}), release: make(chan struct{}), done: make(chan string, 1)}
	go func() {
		defer func() { _ = recover() }()
		got, _ := cache.Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) {
			close(f.begun)
			<-f.release
			return load()
		})
		f.done <- got
	}()
	return f
}

func returns(value string, err error) func() (string, error) {
	return func() (string, error) { return value, err }
}

// A load may end and store nothing. A process that waits for it then loads itself, and not only
// when its wait is over.
func TestLoadThatStoresNothingIsNotWaitedForAnyLonger(t *testing.T) {
	for name, load := range map[string]func(*cache.Client) (string, error){
		"an error":                 func(*cache.Client) (string, error) { return "", errors.New("down") },
		"not found, and no policy": func(*cache.Client) (string, error) { return "", cache.ErrNotFound },
		"a value that is refused":  func(*cache.Client) (string, error) { return strings.Repeat("long", 100), nil },
		"a panic":                  func(*cache.Client) (string, error) { panic("no") },
		"a value that comes too late": func(c *cache.Client) (string, error) {
			return "late", c.InvalidateModule(context.Background(), "users")
		},
	} {
		t.Run(name, func(t *testing.T) {
			processes := newProcesses(t, 2)
			first, second := processes[0], processes[1]
			failing := beginFetch(t, first, func() (string, error) { return load(first) })
			<-failing.begun
			start := time.Now()
			waiting := beginFetch(t, second, returns("value", nil))
			close(waiting.release)
			time.Sleep(20 * time.Millisecond) // it begins to wait, for most of its way
			select {
			case <-waiting.begun:
				t.Error("it did not wait for a load that is under way")
			default:
			}
			close(failing.release)
			if got := <-waiting.done; got != "value" {
				t.Errorf("got %q", got)
			}
			if took := time.Since(start); took > longWait/4 {
				t.Errorf("it took %s, with a wait of up to %s", took, longWait)
			}
			for _, c := range processes {
				if fetchLoaded(t, c, usersGet) {
					t.Error("what was loaded in place of that is not stored")
				}
			}
		})
	}
}

// One of those who wait loads in place of a load that failed, the others wait for that one, and so
// on.
func TestWaitersLoadOneAtATimeAfterALoadThatFailed(t *testing.T) {
	const failures = 2
	processes := newProcesses(t, 5)
	var running, loads atomic.Int32
	load := func() (string, error) {
		defer running.Add(-1)
		if running.Add(1) > 1 {
			t.Error("two processes load at once")
		}
		time.Sleep(200 * time.Millisecond) // others read it several times
		if loads.Add(1) <= failures {
			return "", errors.New("down")
		}
		return "value", nil
	}
	first := beginFetch(t, processes[0], load)
	<-first.begun
	all := []fetching{first}
	for _, c := range processes[1:] {
		all = append(all, beginFetch(t, c, load))
	}
	for _, f := range all {
		close(f.release)
	}
	values := map[string]int{}
	for _, f := range all {
		values[<-f.done]++
	}
	if values[""] != failures || values["value"] != len(all)-failures {
		t.Errorf("got %v, want %d failures", values, failures)
	}
	NewWithT(t).Expect(loads.Load()).To(BeEquivalentTo(failures + 1))
}
