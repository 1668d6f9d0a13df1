// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package loads gets values from the source and stores them.
package loads

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/registry"
)

// Errors that callers get in place of a value.
var (
	// ErrCycle is cache.ErrCycle.
	ErrCycle = errors.New("the loader fetches its own entry")
	// ErrStuck is cache.ErrLoadStuck.
	ErrStuck = errors.New("loads by other callers do not end")
	// ErrRefused is cache.ErrRefused.
	ErrRefused = errors.New("refused by the policy")
)

// Config says how Loads work. All fields are needed.
type Config struct {
	Gateway    *gateway.Gateway
	Outbox     *outbox.Outbox
	Background *background.Runner
	Failures   *failure.Reports
	Codec      codec.Codec
	Encoder    *codec.Encoder // of the Codec
	// Took records how long a load of an operation took.
	Took func(module, operation string, took time.Duration)
	// Timeout bounds a lease.
	Timeout time.Duration
	// Wait is how long a caller waits for another process. 0: not at all.
	Wait time.Duration
	// SharedWait is how long a caller waits for the load of another in this process.
	SharedWait time.Duration
}

// Loads are the loads of this process. Callers of the same entry share one.
type Loads struct {
	config    Config
	waiter    waiter
	flights   flight.Group[flightKey, loaded]
	handovers handovers
	held      *flight.Trailing[registry.Key, loaded]
	paces     paces
}

// New returns Loads without any under way.
func New(config Config) *Loads {
	s := &Loads{
		config: config,
		waiter: waiter{gateway: config.Gateway, loadWait: config.Wait, timeout: config.Timeout},
	}
	s.flights.MaxWait = config.SharedWait
	s.flights.OnOrphanPanic = func(of flightKey, value *flight.Panic) {
		s.orphanPanicked(of.Key, value)
	}
	s.held = flight.NewTrailing[registry.Key, loaded](config.SharedWait, s.orphanPanicked)
	return s
}

// unlock releases load locks in the background.
func (s *Loads) unlock(ctx context.Context, keys []registry.Key) {
	if len(keys) > 0 {
		s.config.Background.Start(ctx, func(ctx context.Context) {
			s.config.Gateway.Unlock(ctx, keys...)
		})
	}
}

// cycle reports and returns the error of a loader that fetches what it loads over and over.
func (s *Loads) cycle(key registry.Key) error {
	err := fmt.Errorf("%w: an entry of %s, operation %s: give one of them another operation or "+
		"other params, or read the source in the loader", ErrCycle, key.Slot, key.Operation)
	s.config.Failures.Add(key.Module, key.Operation, err)
	return err
}

// Stuck reports and returns the error of a caller that waited for two loads of others that did not
// end.
func (s *Loads) Stuck(key registry.Key) error {
	err := fmt.Errorf("%w: an entry of %s, operation %s. Give the load a deadline. "+
		"If its loader uses the cache, pass on the context that it gets. "+
		"If loads take longer than %s, raise WithSharedLoadWait",
		ErrStuck, key.Slot, key.Operation, s.flights.MaxWait)
	s.config.Failures.Add(key.Module, key.Operation, err)
	return err
}

// orphanPanicked reports a panic of a loader whose caller has left. The flight runs on a goroutine
// of its own, which must not panic if the failure hook does.
func (s *Loads) orphanPanicked(key registry.Key, value *flight.Panic) {
	defer func() {
		if value := recover(); value != nil {
			s.config.Failures.Panicked(value)
		}
	}()
	err := redact.Panic("a loader panicked after its caller had left", value)
	s.config.Failures.Add(key.Module, key.Operation, err)
}
