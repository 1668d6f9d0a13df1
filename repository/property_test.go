// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
)

// step is what a function does in a transaction.
type step struct {
	what  string // touch, commit, rollback (a function for either), join or savepoint
	id    int    // of what is touched, or of the function
	steps []step // of an inner transaction
	fails bool
}

// recorded is what a model of a transaction, or of a savepoint, has recorded.
type recorded struct {
	touched, commit, rollback []int
	failed                    bool
}

// model runs steps as the documentation says. It returns the functions for a rollback that ran.
func (r *recorded) run(steps []step) (undone []int) {
	for _, s := range steps {
		switch {
		case s.what == "touch":
			r.touched = append(r.touched, s.id)
		case s.what == "commit":
			r.commit = append(r.commit, s.id)
		case s.what == "rollback":
			r.rollback = append(r.rollback, s.id)
		case r.failed: // no inner transaction begins
		case s.what == "join":
			undone = append(undone, r.run(s.steps)...)
			r.failed = r.failed || s.fails
		case s.what == "savepoint":
			var inner recorded
			undone = append(undone, inner.run(s.steps)...)
			if s.fails || inner.failed {
				undone = append(undone, inner.rollback...)
				continue
			}
			r.touched = append(r.touched, inner.touched...)
			r.commit = append(r.commit, inner.commit...)
			r.rollback = append(r.rollback, inner.rollback...)
		}
	}
	return undone
}

// drawSteps draws what a function does. next numbers it.
func drawSteps(t *rapid.T, depth int, next *int) []step {
	kinds := []string{"touch", "commit", "rollback"}
	if depth > 0 {
		kinds = append(kinds, "join", "savepoint")
	}
	steps := make([]step, rapid.IntRange(0, 4).Draw(t, "steps"))
	for i := range steps {
		*next++
		steps[i] = step{what: rapid.SampledFrom(kinds).Draw(t, "what"), id: *next}
		if what := steps[i].what; what == "join" || what == "savepoint" {
			steps[i].steps = drawSteps(t, depth-1, next)
			steps[i].fails = rapid.IntRange(0, 2).Draw(t, "fails") == 0
		}
	}
	return steps
}

// Functions nest transactions at will, and ignore the errors of inner ones. What is held, and which
// functions are called, is as the model says.
func TestWhatIsUndoneIsForgotten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		next := 0
		steps, fails := drawSteps(rt, 3, &next), rapid.IntRange(0, 3).Draw(rt, "fails") == 0
		fake, c := newFakeDB(), cachetest.New(cachetest.WithDefaultTTL(hour))
		db := fake.opened(t, repository.WithCache(c))
		var committed, undone []int
		var play func(ctx context.Context, steps []step)
		play = func(ctx context.Context, steps []step) {
			for _, s := range steps {
				inner := func(ctx context.Context) error {
					play(ctx, s.steps)
					if s.fails {
						return errOurs
					}
					return nil
				}
				switch s.what {
				case "touch":
					_ = repository.Touch(ctx, cache.Key{Module: "users", Operation: "getById", Params: s.id})
				case "commit":
					repository.AfterCommit(ctx, func(context.Context) { committed = append(committed, s.id) })
				case "rollback":
					repository.AfterRollback(ctx, func(context.Context) { undone = append(undone, s.id) })
				case "join":
					_ = db.InTx(ctx, inner)
				case "savepoint":
					_ = db.InTx(ctx, inner, repository.Savepoint())
				}
			}
		}
		err := db.InTx(context.Background(), func(ctx context.Context) error {
			play(ctx, steps)
			if fails {
				return errOurs
			}
			return nil
		})

		var want recorded
		wantUndone := want.run(steps)
		if fails || want.failed {
			wantUndone = append(wantUndone, want.rollback...)
			want.touched, want.commit = nil, nil
		}
		if failed := fails || want.failed; failed != errors.Is(err, errOurs) || failed != (err != nil) {
			rt.Errorf("got %v, fails: %v", err, failed)
		}
		var held []int
		for _, call := range c.Calls() {
			if call.Method == "Hold" {
				for _, thing := range call.Covered {
					held = append(held, thing.(cache.Key).Params.(int))
				}
			}
		}
		slices.Sort(held)
		slices.Sort(want.touched)
		if !slices.Equal(held, want.touched) {
			rt.Errorf("held %v, want %v", held, want.touched)
		}
		if !slices.Equal(committed, want.commit) || !slices.Equal(undone, wantUndone) {
			rt.Errorf("called %v and %v, want %v and %v", committed, undone, want.commit, wantUndone)
		}
	})
}
