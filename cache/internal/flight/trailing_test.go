// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// caller is what one caller of a plan does.
type caller struct {
	Key        string
	Comes      time.Duration
	LoadTakes  time.Duration
	GivesUp    time.Duration // after it came; 0: it does not
	came, left time.Time
	got        time.Time // when the load began whose result it got
	err        error
}

const longestLoad = 20 * time.Millisecond

func drawCallers(t *rapid.T) []*caller {
	milliseconds := func(from, to int, label string) time.Duration {
		return time.Duration(rapid.IntRange(from, to).Draw(t, label)) * time.Millisecond
	}
	var callers []*caller
	for range rapid.IntRange(1, 30).Draw(t, "callers") {
		c := &caller{
			Key:       rapid.SampledFrom([]string{"a", "a", "a", "b"}).Draw(t, "key"),
			Comes:     milliseconds(0, 60, "comes"),
			LoadTakes: milliseconds(1, int(longestLoad/time.Millisecond), "load"),
		}
		if rapid.IntRange(0, 3).Draw(t, "gives up") == 0 {
			c.GivesUp = milliseconds(0, 30, "gives up")
		}
		callers = append(callers, c)
	}
	return callers
}

// trial lets callers load, and records what must not happen.
type trial struct {
	trailing *Trailing[string, time.Time]

	mu      sync.Mutex
	running map[string]map[context.Context]bool
	wrong   string
}

func (r *trial) load(key string, takes time.Duration) func(context.Context) (time.Time, error) {
	return func(ctx context.Context) (time.Time, error) {
		began := time.Now()
		defer r.begin(ctx, key)()
		select {
		case <-time.After(takes):
			return began, nil
		case <-ctx.Done():
			return began, ctx.Err()
		}
	}
}

// begin checks that no other load of a key runs, unless all its callers have left.
func (r *trial) begin(ctx context.Context, key string) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for other := range r.running[key] {
		if other.Err() == nil {
			r.wrong = "two loads of a key run"
		}
	}
	if r.running[key] == nil {
		r.running[key] = map[context.Context]bool{}
	}
	r.running[key][ctx] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.running[key], ctx)
	}
}

func (r *trial) call(ctx context.Context, c *caller) {
	time.Sleep(c.Comes)
	if c.GivesUp > 0 {
		limited, cancel := context.WithTimeout(ctx, c.GivesUp)
		defer cancel()
		ctx = limited
	}
	c.came = time.Now()
	c.got, _, c.err = r.trailing.Do(ctx, c.Key, r.load(c.Key, c.LoadTakes))
	c.left = time.Now()
}

// judge returns what is wrong with what a caller got.
func (c *caller) judge() string {
	switch {
	case c.err != nil && c.GivesUp == 0 && !errors.Is(c.err, ErrNothingToShare):
		return fmt.Sprintf("%+v failed", *c)
	case c.err == nil && c.got.Before(c.came):
		return fmt.Sprintf("%+v got a load that began before it came", *c)
	case c.left.Sub(c.came) > 2*longestLoad:
		return fmt.Sprintf("%+v waited for more than two loads", *c)
	}
	return ""
}

// However callers come and go, one load of a key runs. Each caller gets a load that began after it
// came, and waits for two loads at most.
func TestCallersShareLoadsThatBeginAfterThem(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		callers := drawCallers(rt)
		r := &trial{running: map[string]map[context.Context]bool{}}
		synctest.Test(t, func(t *testing.T) {
			r.trailing = NewTrailing[string, time.Time](0, nil)
			var all sync.WaitGroup
			for _, c := range callers {
				all.Go(func() { r.call(t.Context(), c) })
			}
			all.Wait()
			synctest.Wait()
		})
		for _, c := range callers {
			if r.wrong == "" {
				r.wrong = c.judge()
			}
		}
		if r.wrong == "" && len(r.trailing.lines)+len(r.trailing.group.flights) > 0 {
			r.wrong = fmt.Sprintf("%d keys are left over", len(r.trailing.lines))
		}
		if r.wrong != "" {
			rt.Fatal(r.wrong)
		}
	})
}

type reply struct {
	value   string
	started bool
	err     error
	panics  any
}

type trailing = Trailing[string, string]

func ask(ctx context.Context, t *trailing, load func(context.Context) (string, error)) <-chan reply {
	replies := make(chan reply, 1)
	go func() {
		var r reply
		defer func() {
			r.panics = recover()
			replies <- r
		}()
		r.value, r.started, r.err = t.Do(ctx, "k", load)
	}()
	synctest.Wait()
	return replies
}

// blocked returns a loader that ends when a function is called.
func blocked(value string, err error) (load func(context.Context) (string, error), end func()) {
	ended := make(chan struct{})
	return func(context.Context) (string, error) {
		<-ended
		return value, err
	}, sync.OnceFunc(func() { close(ended) })
}

func never(t *testing.T) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		t.Error("a load that nobody needs began")
		return "", nil
	}
}

func TestErrorOfATrailingLoadIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, failure := NewTrailing[string, string](0, nil), errors.New("no such row")
		first, end := blocked("first", nil)
		a := ask(t.Context(), all, first)
		b := ask(t.Context(), all, func(context.Context) (string, error) { return "", failure })
		c := ask(t.Context(), all, never(t))
		end()
		if r := <-a; r != (reply{value: "first", started: true}) {
			t.Errorf("the first caller got %+v", r)
		}
		if r := <-b; !errors.Is(r.err, failure) || !r.started {
			t.Errorf("the second caller got %+v", r)
		}
		if r := <-c; !errors.Is(r.err, failure) || r.started {
			t.Errorf("the third caller got %+v", r)
		}
	})
}

// A panic reaches the caller whose loader it was. The others load for themselves.
func TestPanicOfATrailingLoadIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := NewTrailing[string, string](0, nil)
		first, end := blocked("first", nil)
		a := ask(t.Context(), all, first)
		b := ask(t.Context(), all, func(context.Context) (string, error) { panic("broken") })
		c := ask(t.Context(), all, never(t))
		end()
		<-a
		if r := <-b; r.panics == nil || !strings.Contains(fmt.Sprint(r.panics), "broken") {
			t.Errorf("the second caller got %+v", r)
		}
		if r := <-c; !errors.Is(r.err, ErrNothingToShare) {
			t.Errorf("the third caller got %+v", r)
		}
		if r := <-ask(t.Context(), all, func(context.Context) (string, error) { return "fine", nil }); r.value != "fine" {
			t.Errorf("a later caller got %+v", r)
		}
	})
}

// A panic that no caller is left for is reported.
func TestPanicOfATrailingLoadWhoseCallerHasLeftIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reported string
		all := NewTrailing[string, string](0, func(key string, p *Panic) { reported = key + " " + fmt.Sprint(p.value) })
		ctx, cancel := context.WithCancel(t.Context())
		a := ask(ctx, all, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			panic("broken")
		})
		cancel()
		if r := <-a; !errors.Is(r.err, context.Canceled) {
			t.Errorf("got %+v", r)
		}
		synctest.Wait()
		if reported != "k broken" {
			t.Errorf("reported %q", reported)
		}
	})
}

// A load that fetches its own key would wait for itself: as the one that waits to begin, or through
// another one that does.
func TestTrailingLoadDoesNotWaitForItself(t *testing.T) {
	for name, othersWait := range map[string]bool{"alone": false, "while another caller waits": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := NewTrailing[string, string](time.Minute, nil)
				proceed := make(chan struct{})
				a := ask(t.Context(), all, func(ctx context.Context) (string, error) {
					<-proceed
					_, _, err := all.Do(ctx, "k", never(t))
					return "", err
				})
				var b <-chan reply
				if othersWait {
					b = ask(t.Context(), all, func(context.Context) (string, error) { return "second", nil })
				}
				began := time.Now()
				close(proceed)
				if r := <-a; !errors.Is(r.err, ErrCycle) || time.Since(began) > 0 {
					t.Errorf("got %+v after %s", r, time.Since(began))
				}
				if othersWait {
					if r := <-b; r.value != "second" {
						t.Errorf("got %+v", r)
					}
				}
			})
		})
	}
}

// A load that hangs holds the next one up for a moment, and the third one for good. Callers that
// joined wait for a bounded time, too.
func TestTrailingLoadThatHangsIsNotWaitedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := NewTrailing[string, string](time.Minute, nil)
		hangs, end := blocked("late", nil)
		alsoHangs, endToo := blocked("late, too", nil)
		a := ask(t.Context(), all, hangs)
		b := ask(t.Context(), all, alsoHangs)
		joined := ask(t.Context(), all, never(t))
		began := time.Now()
		time.Sleep(time.Minute + time.Second) // now the second one runs as well
		c := ask(t.Context(), all, never(t))
		if r := <-joined; !errors.Is(r.err, ErrOverdue) || time.Since(began) != 2*time.Minute {
			t.Errorf("a caller that joined got %+v after %s", r, time.Since(began))
		}
		if r := <-c; !errors.Is(r.err, ErrStuck) || time.Since(began) != 2*time.Minute+time.Second {
			t.Errorf("the third load got %+v after %s", r, time.Since(began))
		}
		end()
		endToo()
		for _, of := range []<-chan reply{a, b} {
			if r := <-of; r.err != nil || !r.started {
				t.Errorf("a load that ended late got %+v", r)
			}
		}
		if r := <-ask(t.Context(), all, func(context.Context) (string, error) { return "fine", nil }); r.value != "fine" {
			t.Errorf("a later caller got %+v", r)
		}
		synctest.Wait()
		if len(all.lines) > 0 {
			t.Errorf("%d keys are left over", len(all.lines))
		}
	})
}

// Each load waits for the one before. That must not keep all of them in memory.
func TestTrailingLoadsForgetThoseBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := NewTrailing[string, string](0, nil)
		first, end := blocked("first", nil)
		second, endSecond := blocked("second", nil)
		a, b := ask(t.Context(), all, first), ask(t.Context(), all, second)
		end()
		<-a
		synctest.Wait()
		if waits := len(all.lines["k"].running.load.node.waitsFor); waits > 0 {
			t.Errorf("the load that runs holds on to %d others", waits)
		}
		endSecond()
		<-b
	})
}

// What nobody waits for any more holds nobody up, even if its loader ignores its context.
func TestTrailingLoadThatAllHaveLeftCountsAsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := NewTrailing[string, string](time.Minute, nil)
		ctx, leave := context.WithCancel(t.Context())
		alsoCtx, alsoLeave := context.WithCancel(t.Context())
		hangs, end := blocked("late", nil)
		a := ask(ctx, all, hangs)
		waiting := ask(alsoCtx, all, never(t))
		alsoLeave()
		<-waiting
		leave()
		<-a
		began := time.Now()
		if r := <-ask(t.Context(), all, func(context.Context) (string, error) { return "fine", nil }); r.value != "fine" || time.Since(began) > 0 {
			t.Errorf("got %+v after %s", r, time.Since(began))
		}
		end()
		synctest.Wait()
		if len(all.lines) > 0 {
			t.Errorf("%d keys are left over", len(all.lines))
		}
	})
}
