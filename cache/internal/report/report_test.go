// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/registry"
)

var errDown = errors.Join(registry.ErrUnreachable, errors.New("connection refused"))

// ledger adds up what a Reporter sent.
type ledger struct {
	mu      sync.Mutex
	failure error
	calls   int
	sums    map[operation]registry.Counters
}

func (l *ledger) send(_ context.Context, module, name string, c registry.Counters) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if l.failure != nil {
		return l.failure
	}
	if l.sums == nil {
		l.sums = make(map[operation]registry.Counters)
	}
	sum := l.sums[operation{module, name}]
	sum.Hits += c.Hits
	sum.Misses += c.Misses
	sum.Errors += c.Errors
	l.sums[operation{module, name}] = sum
	return nil
}

func (l *ledger) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = err
}

func (l *ledger) called() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}

func (l *ledger) sum(module, name string) registry.Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sums[operation{module, name}]
}

func withReporter(t *testing.T, test func(t *testing.T, r *Reporter, l *ledger)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
		r := New(l.send, 10*time.Second)
		test(t, r, l)
		_ = r.Close(context.Background())
	})
}

func TestCountsAreSentInBatches(t *testing.T) {
	withReporter(t, func(t *testing.T, r *Reporter, l *ledger) {
		for range 100 {
			r.Add("users", "get", registry.Counters{Hits: 1})
			r.Add("users", "list", registry.Counters{Misses: 1, Errors: 2})
		}
		synctest.Wait()
		if calls := l.called(); calls != 0 {
			t.Errorf("%d calls before the interval was over", calls)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got, want := l.sum("users", "get"), (registry.Counters{Hits: 100}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got, want := l.sum("users", "list"), (registry.Counters{Misses: 100, Errors: 200}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if calls := l.called(); calls != 2 {
			t.Errorf("%d calls, want 2: one for each operation, and none when there is nothing new", calls)
		}
	})
}

func TestHotHitsAreSentToo(t *testing.T) {
	withReporter(t, func(t *testing.T, r *Reporter, l *ledger) {
		l.fail(errDown)
		r.Hits("users", "get").Add(3)
		r.Add("users", "get", registry.Counters{Hits: 1})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		r.Hits("users", "get").Add(1)
		l.fail(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := l.sum("users", "get"); got.Hits != 5 {
			t.Errorf("%d hits, want 5", got.Hits)
		}
		for i := range 2 * maxOperations {
			r.Hits("users", fmt.Sprint(i)).Add(1)
		}
		if got := len(r.hot); got > maxOperations {
			t.Errorf("%d counters are kept", got)
		}
	})
}

func TestCountsThatCouldNotBeSentAreKept(t *testing.T) {
	withReporter(t, func(t *testing.T, r *Reporter, l *ledger) {
		l.fail(errDown)
		r.Add("users", "get", registry.Counters{Hits: 1})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		r.Add("users", "get", registry.Counters{Hits: 1})
		l.fail(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := l.sum("users", "get"); got.Hits != 2 {
			t.Errorf("%d hits, want 2", got.Hits)
		}
	})
}

func TestReporterIsBounded(t *testing.T) {
	withReporter(t, func(t *testing.T, r *Reporter, l *ledger) {
		l.fail(errDown)
		for i := range 2 * maxOperations {
			r.Add("users", fmt.Sprint(i), registry.Counters{Hits: 1})
		}
		synctest.Wait()
		r.mu.Lock()
		waiting := len(r.pending)
		r.mu.Unlock()
		if waiting > maxOperations {
			t.Errorf("%d operations wait", waiting)
		}
		if l.called() == 0 {
			t.Error("a full reporter waits for the interval")
		}
	})
}

func TestCloseSendsWhatIsLeft(t *testing.T) {
	withReporter(t, func(t *testing.T, r *Reporter, l *ledger) {
		r.Add("users", "get", registry.Counters{Hits: 1})
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
		r.Add("users", "get", registry.Counters{Hits: 1})
		if err := r.Close(t.Context()); err != nil {
			t.Errorf("closing again: %v", err)
		}
		if got := l.sum("users", "get"); got.Hits != 1 {
			t.Errorf("%d hits, want 1", got.Hits)
		}
	})
}

func TestCloseSaysWhatCouldNotBeSent(t *testing.T) {
	withReporter(t, func(t *testing.T, r *Reporter, l *ledger) {
		l.fail(errDown)
		r.Add("users", "get", registry.Counters{Hits: 1})
		if err := r.Close(t.Context()); !errors.Is(err, registry.ErrUnreachable) {
			t.Errorf("got %v, want ErrUnreachable", err)
		}
	})
}

func TestCloseEndsAReportThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging := func(ctx context.Context, _, _ string, _ registry.Counters) error {
			<-ctx.Done()
			return errDown
		}
		r := New(hanging, time.Second)
		r.Add("users", "get", registry.Counters{Hits: 1})
		time.Sleep(time.Second) // the reporter hangs now
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := r.Close(ctx); err == nil {
			t.Error("no error although nothing was sent")
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("closing took %s, longer than its context", took)
		}
	})
}

func TestCountsWhileRedisIsDownCauseFewSends(t *testing.T) {
	withReporter(t, func(t *testing.T, r *Reporter, l *ledger) {
		l.fail(errDown)
		for i := range maxOperations {
			r.Add(fmt.Sprint("module", i%100), fmt.Sprint(i), registry.Counters{Hits: 1})
		}
		synctest.Wait()
		before := l.called()
		for range 100 {
			r.Add("module0", "0", registry.Counters{Hits: 1})
			synctest.Wait()
		}
		if sends := l.called() - before; sends != 0 {
			t.Errorf("100 counts caused %d sends", sends)
		}
		before = l.called()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if sends := l.called() - before; sends == 0 || sends > maxFailures {
			t.Errorf("an interval caused %d sends, want 1 to %d", sends, maxFailures)
		}
		l.fail(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := l.sum("module0", "0"); got.Hits != 101 {
			t.Errorf("%d hits arrived, want 101", got.Hits)
		}
	})
}

// It is the same where a few of very many operations can be sent. Each makes room for a new one,
// which fills the Reporter.
func TestAReporterThatFailsInPartIsNotHurriedByEachCount(t *testing.T) {
	withReporter(t, func(t *testing.T, r *Reporter, l *ledger) {
		r.send = func(ctx context.Context, module, name string, c registry.Counters) error {
			if module == "up" {
				return nil
			}
			l.fail(errDown)
			return l.send(ctx, module, name, c)
		}
		for i := range maxOperations - 1 {
			r.Add("down", fmt.Sprint(i), registry.Counters{Hits: 1})
		}
		for i := range 100 {
			r.Add("up", fmt.Sprint(i), registry.Counters{Hits: 1})
			synctest.Wait()
		}
		if sends := l.called(); sends > maxFailures {
			t.Errorf("100 counts caused %d sends that failed", sends)
		}
	})
}

// Modules fail one by one, with their nodes. The counts of the others are sent.
func TestAModuleThatCannotBeReportedHoldsUpNoOther(t *testing.T) {
	withReporter(t, func(t *testing.T, r *Reporter, _ *ledger) {
		var mu sync.Mutex
		failed, sent := 0, 0
		r.send = func(_ context.Context, module, _ string, _ registry.Counters) error {
			mu.Lock()
			defer mu.Unlock()
			if module == "down" {
				failed++
				return errDown
			}
			sent++
			return nil
		}
		for i := range 100 {
			r.Add("down", fmt.Sprint(i), registry.Counters{Hits: 1})
			r.Add("up", fmt.Sprint(i), registry.Counters{Hits: 1})
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if failed != 1 || sent != 100 {
			t.Errorf("%d sends failed and %d succeeded, want 1 and 100", failed, sent)
		}
	})
}
