// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package transact

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/repository/internal/backoff"
)

// defaultAttempts is how often a function runs if it meets conflicts.
const defaultAttempts = 5

// pauses between attempts.
var pauses = backoff.Backoff{First: 5 * time.Millisecond, Last: 500 * time.Millisecond}

var errOfOuter = errors.New("an inner transaction has the isolation, the access and the attempts " +
	"of the outer one; set them there")

// InTx is repository.DB.InTx.
func (e *Engine) InTx(ctx context.Context, fn func(context.Context) error, o Options) error {
	outer := e.FrameOf(ctx)
	switch {
	case outer == nil:
		return e.repeat(ctx, o, fn)
	case !outer.tx.options.covers(o):
		return fmt.Errorf("repository: InTx: %w", errOfOuter)
	case o.Savepoint:
		return outer.runInSavepoint(ctx, fn)
	default:
		return outer.join(ctx, fn)
	}
}

// covers says whether an inner transaction with other options can be a part of this one.
func (o Options) covers(inner Options) bool {
	return inner.Attempts == 0 && (o.ReadOnly || !inner.ReadOnly) &&
		(inner.Isolation == sql.LevelDefault || inner.Isolation == o.Isolation)
}

// repeat makes attempts until one does not meet a conflict.
func (e *Engine) repeat(
	ctx context.Context, o Options, fn func(context.Context) error,
) error {
	if o.Attempts == 0 {
		o.Attempts = defaultAttempts
	}
	for made := 1; ; made++ {
		again, err := e.attempt(ctx, o, fn)
		if !again || made >= o.Attempts || !sleep(ctx, pauses.After(made)) {
			return err
		}
		e.Counts.Retries.Add(1)
	}
}

// sleep reports whether ctx lasted.
func sleep(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}
