// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// Run follows the heads until ctx ends. It calls lost each time the connection fails.
func (t *Tracker) Run(ctx context.Context, lost func(error)) {
	for pause := firstReconnect; ; pause = min(2*pause, maxReconnect) {
		began := time.Now()
		err := contain.Call(registry.ErrMisbehaves, func() error { return t.track(ctx) })
		if ctx.Err() != nil {
			return
		}
		lost(err)
		t.links.refresh(ctx)
		if errors.Is(err, ErrUnfit) {
			pause = unfitPause
		} else if time.Since(began) > maxReconnect {
			pause = firstReconnect
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return
		}
	}
}

// track returns when the connection is lost.
func (t *Tracker) track(ctx context.Context) error {
	since := t.links.generation()
	node, err := t.links.node(ctx, t.slot)
	if err != nil {
		return fmt.Errorf("finding the node of %s: %w", t.slot, err)
	}
	l, err := t.links.join(ctx, node, since, t)
	if err != nil {
		return fmt.Errorf("following the heads of %s: %w", t.slot, err)
	}
	defer t.links.leave(l, t)
	defer t.end() // before it leaves: after that, no change is reported
	if err := t.readPolicy(ctx, l); err != nil {
		return err
	}
	t.begin(l)
	return fmt.Errorf("following the heads of %s: %w", t.slot, t.readChanges(ctx, l))
}

// readChanges reads the policy and the heads that may have changed. It reads them from the node
// that reports changes, because only its answers are in order with its reports.
func (t *Tracker) readChanges(ctx context.Context, l *link) error {
	for {
		select {
		case <-t.dirty:
		case <-l.ctx.Done():
			return l.lost()
		case <-ctx.Done():
			return ctx.Err()
		}
		if t.takeNewPolicy() {
			if err := t.readPolicy(ctx, l); err != nil {
				return err
			}
		}
		for taken := t.take(); len(taken) > 0; taken = t.take() {
			if err := t.readTaken(ctx, l, taken); err != nil {
				return err
			}
		}
	}
}

func (t *Tracker) takeNewPolicy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.newPolicy
	t.newPolicy = false
	return taken
}

// readPolicy reads the policy, after an MGET that makes Redis report its next change. MGET itself
// returns no value, because the policy is a hash.
func (t *Tracker) readPolicy(ctx context.Context, l *link) error {
	if _, _, err := l.readHeads(ctx, []string{t.slot + policyKey}, nil); err != nil {
		return fmt.Errorf("following the policy of %s: %w", t.slot, err)
	}
	ctx, cancel := context.WithTimeout(ctx, maxSilence)
	defer cancel()
	if err := t.policy(ctx); err != nil {
		return fmt.Errorf("reading the policy of %s: %w", t.slot, err)
	}
	return nil
}
