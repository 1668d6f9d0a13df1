// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package flight_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache/internal/flight"
)

type answer struct {
	value   string
	started bool
	err     error
}

type group = flight.Group[string, string]

// call runs Do on a goroutine of its own and returns where its answer will be. In a synctest bubble
// it has joined or started a flight, or returned, after synctest.Wait.
func call(ctx context.Context, g *group, key string, load func(context.Context) (string, error)) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		var a answer
		a.value, a.started, a.err = g.Do(ctx, key, load)
		answers <- a
	}()
	return answers
}

func mustNotLoad(t *testing.T) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		t.Error("a second load of the same key began")
		return "", nil
	}
}

func TestConcurrentCallersShareOneLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		release := make(chan struct{})
		first := call(t.Context(), &g, "k", func(context.Context) (string, error) {
			<-release
			return "loaded", nil
		})
		synctest.Wait()
		var others []<-chan answer
		for range 50 {
			others = append(others, call(t.Context(), &g, "k", mustNotLoad(t)))
		}
		synctest.Wait()
		close(release)

		if a := <-first; a != (answer{value: "loaded", started: true}) {
			t.Errorf("the caller that loads got %+v", a)
		}
		for _, other := range others {
			if a := <-other; a != (answer{value: "loaded"}) {
				t.Errorf("a caller that joined got %+v", a)
			}
		}
	})
}

func TestKeysDoNotShareAndALandedFlightIsNotJoined(t *testing.T) {
	var g group
	loads := 0
	load := func(context.Context) (string, error) {
		loads++
		return "v", nil
	}
	for _, key := range []string{"a", "b", "a"} {
		if _, started, err := g.Do(t.Context(), key, load); !started || err != nil {
			t.Errorf("Do(%q): started %v, %v", key, started, err)
		}
	}
	if loads != 3 {
		t.Errorf("%d loads, want 3", loads)
	}
}

func TestErrorIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		failure := errors.New("no such row")
		release := make(chan struct{})
		first := call(t.Context(), &g, "k", func(context.Context) (string, error) {
			<-release
			return "", failure
		})
		synctest.Wait()
		second := call(t.Context(), &g, "k", mustNotLoad(t))
		synctest.Wait()
		close(release)
		for _, answers := range []<-chan answer{first, second} {
			if a := <-answers; !errors.Is(a.err, failure) {
				t.Errorf("got %v, want %v", a.err, failure)
			}
		}
	})
}

func TestCallerThatGivesUpLeavesTheLoadToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		type traceID struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), traceID{}, "trace"))
		release := make(chan struct{})
		first := call(ctx, &g, "k", func(ctx context.Context) (string, error) {
			<-release
			if ctx.Value(traceID{}) != "trace" {
				t.Error("the loader has not the values of its caller's context")
			}
			return "loaded", ctx.Err()
		})
		synctest.Wait()
		second := call(t.Context(), &g, "k", mustNotLoad(t))
		synctest.Wait()

		cancel()
		if a := <-first; !errors.Is(a.err, context.Canceled) {
			t.Errorf("the caller that gave up got %+v", a)
		}
		close(release)
		if a := <-second; a != (answer{value: "loaded"}) {
			t.Errorf("the caller that waits got %+v", a)
		}
	})
}

func TestLoadThatNobodyWaitsForIsCancelledAndNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		ended := make(chan error, 1)
		load := func(ctx context.Context) (string, error) {
			<-ctx.Done()
			<-release
			ended <- ctx.Err()
			return "", ctx.Err()
		}
		first, second := call(ctx, &g, "k", load), call(ctx, &g, "k", load)
		synctest.Wait()
		cancel()
		<-first
		<-second

		// The abandoned load still runs: it takes its time to obey. A new caller must not get its error.
		if value, started, err := g.Do(t.Context(), "k", func(context.Context) (string, error) { return "fresh", nil }); value != "fresh" || !started || err != nil {
			t.Errorf("a later caller got %q, %v, %v", value, started, err)
		}
		close(release)
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the loader saw %v", err)
		}
	})
}

// The starter's context may hold what ends with it, such as a transaction.
func TestErrorAfterItsCallerGaveUpIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		first := call(ctx, &g, "k", func(context.Context) (string, error) {
			<-release
			return "", errors.New("transaction has already been rolled back")
		})
		synctest.Wait()
		second := call(t.Context(), &g, "k", mustNotLoad(t))
		synctest.Wait()
		cancel()
		<-first
		close(release)
		if a := <-second; !errors.Is(a.err, flight.ErrNothingToShare) {
			t.Errorf("the caller that joined got %+v", a)
		}
	})
}

// stubborn is the context of a caller that has not noticed yet that it ended. What follows from the
// end, such as an error of a query, may come first.
type stubborn struct{ context.Context }

func (stubborn) Done() <-chan struct{} { return nil }

// A loader may use its caller's own context, as closures do, or keep to its deadline by another
// clock.
func TestErrorOfALoadThatEndsWithItsCallersContextIsNotShared(t *testing.T) {
	for name, starter := range map[string]func(*testing.T) (ctx context.Context, end func()){
		"cancelled": func(t *testing.T) (context.Context, func()) {
			ctx, cancel := context.WithCancel(t.Context())
			return stubborn{ctx}, cancel
		},
		"past its deadline": func(t *testing.T) (context.Context, func()) {
			return overdue{t.Context()}, func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g group
				ctx, end := starter(t)
				release := make(chan struct{})
				first := call(ctx, &g, "k", func(context.Context) (string, error) {
					<-release
					return "", context.Canceled
				})
				synctest.Wait()
				second := call(t.Context(), &g, "k", mustNotLoad(t))
				synctest.Wait()
				end()
				close(release)
				if a := <-first; !errors.Is(a.err, context.Canceled) || !a.started {
					t.Errorf("the caller that loads got %+v", a)
				}
				if a := <-second; !errors.Is(a.err, flight.ErrNothingToShare) {
					t.Errorf("the caller that joined got %+v", a)
				}
			})
		})
	}
}

// overdue is a context whose deadline has passed, and whose timer has yet to fire.
type overdue struct{ context.Context }

func (overdue) Deadline() (time.Time, bool) { return time.Now(), true }

func TestPanicOfALoadThatEndsWithItsCallersContextReachesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := group{OnOrphanPanic: func(_ string, panicked *flight.Panic) { t.Errorf("reported, although it has a caller: %v", panicked) }}
		ctx, cancel := context.WithCancel(t.Context())
		defer func() {
			if recover() == nil {
				t.Error("the caller did not panic")
			}
		}()
		_, _, _ = g.Do(stubborn{ctx}, "k", func(context.Context) (string, error) {
			cancel()
			panic("no")
		})
	})
}

func TestPanicReachesItsCallerOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		failure := errors.New("index out of range")
		release := make(chan struct{})
		panics := make(chan any, 1)
		go func() {
			defer func() { panics <- recover() }()
			_, _, _ = g.Do(t.Context(), "k", func(context.Context) (string, error) {
				<-release
				panic(failure)
			})
		}()
		synctest.Wait()
		second := call(t.Context(), &g, "k", mustNotLoad(t))
		synctest.Wait()
		close(release)

		err, _ := (<-panics).(error)
		if !errors.Is(err, failure) {
			t.Errorf("the caller panicked with %v, want it to wrap %v", err, failure)
		}
		if a := <-second; !errors.Is(a.err, flight.ErrNothingToShare) {
			t.Errorf("the caller that joined got %+v", a)
		}
		if value, _, err := g.Do(t.Context(), "k", func(context.Context) (string, error) { return "fresh", nil }); value != "fresh" || err != nil {
			t.Errorf("a later caller got %q, %v", value, err)
		}
	})
}

func TestPanicWithoutACallerIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reported := make(chan *flight.Panic, 1)
		g := group{OnOrphanPanic: func(_ string, panicked *flight.Panic) { reported <- panicked }}
		ctx, cancel := context.WithCancel(t.Context())
		only := call(ctx, &g, "k", func(ctx context.Context) (string, error) {
			<-ctx.Done()
			panic("connection lost")
		})
		synctest.Wait()
		cancel()
		<-only
		text := (<-reported).Redacted()
		if strings.Contains(text, "connection lost") || !strings.Contains(text, "string") || !strings.Contains(text, "flight_test.go:") {
			t.Errorf("reported %q", text)
		}
	})
}

func TestGoexitEndsItsCallerOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		release := make(chan struct{})
		var caller sync.WaitGroup
		caller.Go(func() {
			_, _, _ = g.Do(t.Context(), "k", func(context.Context) (string, error) {
				<-release
				runtime.Goexit()
				return "", nil
			})
			t.Error("the caller went on after its loader called Goexit")
		})
		synctest.Wait()
		second := call(t.Context(), &g, "k", mustNotLoad(t))
		synctest.Wait()
		close(release)
		caller.Wait()
		if a := <-second; !errors.Is(a.err, flight.ErrNothingToShare) {
			t.Errorf("the caller that joined got %+v", a)
		}
	})
}

// Many callers that give up at random moments: nobody hangs, and nobody gets a foreign value.
func TestManyCallersManyKeys(t *testing.T) {
	var g group
	var callers sync.WaitGroup
	keys := []string{"a", "b", "c"}
	for i := range 2000 {
		key := keys[i%len(keys)]
		callers.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			if i%4 == 0 {
				go cancel()
			}
			defer cancel()
			value, _, err := g.Do(ctx, key, func(context.Context) (string, error) {
				runtime.Gosched()
				return key, nil
			})
			if err == nil && value != key {
				t.Errorf("a caller of %q got %q", key, value)
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("a caller of %q failed: %v", key, err)
			}
		})
	}
	callers.Wait()
}
