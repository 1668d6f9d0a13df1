// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package unclaimed finds the names of modules and operations that the application uses and no
// policy lists: nothing is cached under them, and nothing fails. It logs each name once, and
// reports how often they are used.
package unclaimed

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/registry"
)

const (
	// maxNames bounds the names that are remembered. Further ones are ignored until some are
	// forgotten.
	maxNames = 1000
	// Longer names are refused by the library.
	maxModuleBytes    = 63
	maxOperationBytes = 128
)

// ErrUnclaimed says that no policy lists a name.
var ErrUnclaimed = errors.New("no CachePolicy lists the name")

// Redis is what Names ask Redis for. No caller waits for it.
type Redis interface {
	// FindPolicy returns the policy of a module, and whether there is one.
	FindPolicy(ctx context.Context, module string) (registry.Policy, bool, error)
	// ListModules returns the modules of the namespace that have policies.
	ListModules(ctx context.Context) ([]string, error)
	// ReportUnclaimed adds to the counts of names.
	ReportUnclaimed(ctx context.Context, names []registry.Unclaimed) error
}

// Config says where Names are looked up and logged. All fields but the Hook are needed.
type Config struct {
	Namespace string
	Redis     Redis
	Logger    *slog.Logger
	Hook      failure.Hook // nil: none
	// Cached reports whether this process has ever met a policy that caches something.
	Cached func() bool
	// Panicked is called after a panic of the Logger or the Hook.
	Panicked func(value any)
}

// name is that of a module, or of an operation of a module.
type name struct{ module, operation string }

type counts struct{ reads, invalidations int64 }

func (c *counts) add(more counts) {
	c.reads += more.reads
	c.invalidations += more.invalidations
}

// use is what is known of a name that the application uses.
type use struct {
	counts // since the last flush

	state state
	until time.Time // the state is used until then
}

// Names are those that this process uses in a way that says that they may be unclaimed.
type Names struct {
	config Config

	mu   sync.Mutex
	used map[name]*use

	flushing sync.Mutex // guards what follows
	logged   map[name]struct{}
	unsent   map[name]counts
	refusals refusals
	unlisted unlisted
}

// New returns Names that were not used yet.
func New(config Config) *Names {
	return &Names{
		config: config, used: make(map[name]*use),
		logged: make(map[name]struct{}), unsent: make(map[name]counts),
	}
}

// Read notes that Redis does not cache an operation that the application reads or writes. A policy
// may say so, or there is none.
func (n *Names) Read(module, operation string) {
	n.note(name{module, operation}, counts{reads: 1})
}

// Invalidated notes an invalidation in a module, with an operation unless it covers all of them.
func (n *Names) Invalidated(module, operation string) {
	n.note(name{module, operation}, counts{invalidations: 1})
}

func (n *Names) note(of name, more counts) {
	if of.module == "" || len(of.module) > maxModuleBytes || len(of.operation) > maxOperationBytes {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	found := n.used[of]
	if found == nil {
		if len(n.used) >= maxNames {
			return
		}
		found = &use{}
		n.used[name{strings.Clone(of.module), strings.Clone(of.operation)}] = found
	}
	if found.state != claimed || !time.Now().Before(found.until) {
		found.add(more)
	}
}

// Flush finds out which of the names that were used are unclaimed, logs and reports them. What
// Redis does not answer in the time of ctx waits for the next Flush.
func (n *Names) Flush(ctx context.Context) { n.flush(ctx, false) }

// Close is the last Flush.
func (n *Names) Close(ctx context.Context) {
	if ctx.Err() == nil {
		n.flush(ctx, true)
	}
}

func (n *Names) flush(ctx context.Context, isLast bool) {
	defer func() {
		if value := recover(); value != nil { // of the logger or the hook
			n.config.Panicked(value)
		}
	}()
	n.flushing.Lock()
	defer n.flushing.Unlock()
	n.check(ctx, isLast)
	n.collect()
	n.report(ctx)
}

// collect moves the counts of unclaimed names to those to report, and forgets names that were not
// used while their state was.
func (n *Names) collect() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for of, found := range n.used {
		isFresh := now.Before(found.until)
		switch found.state {
		case unclaimedModule:
			n.enqueue(name{module: of.module}, found.counts)
			found.counts = counts{}
		case unclaimedOperation:
			n.enqueue(of, found.counts)
			found.counts = counts{}
		}
		if !isFresh && found.counts == (counts{}) {
			delete(n.used, of)
		}
	}
}

func (n *Names) enqueue(of name, more counts) {
	sum, known := n.unsent[of]
	if more == (counts{}) || !known && len(n.unsent) >= registry.MaxUnclaimed {
		return
	}
	sum.add(more)
	n.unsent[of] = sum
}
