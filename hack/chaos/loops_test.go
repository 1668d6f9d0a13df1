// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// crew is who takes part in every run.
type crew struct {
	members []*member
	read    func(context.Context, *member) error
	enough  func() bool // enough was read
	disturb func()      // nil: nobody does
}

// begin puts the policy in force, and starts the readers, the operator's part and the disturbance.
func (r *run) begin(t *testing.T, store store, crew crew) *loops {
	t.Helper()
	l := &loops{}
	l.ctx, l.cancel = inTime(t)
	t.Cleanup(l.cancel)
	r.registry = registry.New(store.open(t, nil))
	if err := r.putInForce(l.ctx); err != nil {
		t.Fatal(err)
	}
	for _, m := range crew.members {
		for range readers {
			l.repeat(0, func(context.Context) { r.readOnce(t, l, crew, m) })
		}
	}
	l.repeat(50*time.Millisecond, r.operate)
	if crew.disturb != nil {
		l.repeat(500*time.Millisecond, func(context.Context) { crew.disturb() })
	}
	return l
}

// putInForce applies the policy. As the operator does, it tries again where Redis does not answer in
// time. On a busy machine, loading the library may take longer than a client waits.
func (r *run) putInForce(ctx context.Context) error {
	for {
		_, err := r.registry.ApplyPolicy(ctx, slot, policy())
		if !errors.Is(err, registry.ErrUnreachable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// readOnce ends the run where a read fails, and where enough was read.
func (r *run) readOnce(t *testing.T, l *loops, crew crew, m *member) {
	if err := crew.read(l.ctx, m); err != nil && l.ctx.Err() == nil {
		t.Error("a read failed:", err)
		l.cancel()
	}
	r.count(m)
	if crew.enough() {
		l.cancel()
	}
}

// operate does the operator's part: it restores a policy that Redis lost, and reclaims.
func (r *run) operate(ctx context.Context) {
	if hashes, err := r.registry.PolicyHashes(ctx, []registry.Slot{slot}); err == nil && hashes[0] == "" {
		_, _ = r.registry.ApplyPolicy(ctx, slot, policy())
	}
	_, _ = r.registry.Reclaim(ctx, slot, 200)
}

// inTime ends the run a minute before the test's deadline, so that the test can still report its
// counts.
func inTime(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	if end, limited := t.Deadline(); limited {
		return context.WithDeadline(t.Context(), end.Add(-time.Minute))
	}
	return context.WithCancel(t.Context())
}

// loops are goroutines that end together.
type loops struct {
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// repeat calls do in a goroutine until the run ends, with pauses of twice pause at most.
func (l *loops) repeat(pause time.Duration, do func(context.Context)) {
	l.group.Go(func() {
		for l.ctx.Err() == nil {
			do(l.ctx)
			if pause > 0 {
				time.Sleep(rand.N(2 * pause))
			}
		}
	})
}

func (l *loops) wait() {
	l.group.Wait()
	l.cancel()
}
