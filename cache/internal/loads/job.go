// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"reflect"
	"time"

	"github.com/cachewright/cachewright/cache/internal/limit"
	"github.com/cachewright/cachewright/registry"
)

// Miss is an entry that a caller wants and that must be loaded.
type Miss struct {
	Key registry.Key
	// Unnamed: the params cannot name an entry, so there is no Key.
	Unnamed bool
	// Lookup says what Redis knows. It is a lease only if it is Cacheable.
	Lookup    registry.Lookup
	Remaining time.Duration // how much longer the caller may wait for Redis
	// At is where the loader knows it.
	At int
	// Out gets the value.
	Out any
	// Err is set by Get. It is flight.ErrOverdue if the load of another caller takes too long to wait
	// for.
	Err error

	// alone: the caller must load it for itself after all.
	alone bool
}

// loaded is the result of a shared load. The caller whose load it was gets the value itself, any
// other caller decodes a copy of the payload.
type loaded struct {
	value   any
	payload []byte
	// shared says that other callers may have the payload.
	shared bool
	// foreign says that another process loaded it, so there is a payload alone.
	foreign bool
	// storedNegative says, beside source.ErrNotFound, that the cache stored it.
	storedNegative bool
}

// job is an entry that is about to be loaded, and what comes of it.
type job struct {
	miss *Miss
	// as is what readers decode into. nil: not known.
	as reflect.Type

	// fills says that there is a lease to store it with. What follows is for that.
	fills bool
	lease registry.Lookup
	// locked says that the lease includes the load lock.
	locked bool
	// another says that another caller left the load lock before the fill began.
	another bool
	// locks are where other callers leave later load locks. nil: nowhere.
	locks *handover
	// until is how long the caller waits for another process that has the load lock.
	until time.Time
	// hit says that another process has stored it meanwhile, ready that it need not wait any longer.
	hit, ready bool

	// limit is what the loader said of how long to keep it. nil: nothing.
	limit *limit.TTL

	result  loaded
	err     error
	outcome registry.Outcome // of the fill; 0: none, or Redis failed
	land    func(loaded, error)
}

func newJob(m *Miss) *job { return &job{miss: m, as: reflect.TypeOf(m.Out).Elem()} }

// chosen returns the jobs at these positions, with what lands each.
func chosen(jobs []*job, own []int, land func(int, loaded, error)) []*job {
	mine := make([]*job, len(own))
	for i, at := range own {
		mine[i] = jobs[at]
		mine[i].land = func(result loaded, err error) { land(at, result, err) }
	}
	return mine
}

// end gives the result to those who wait for it.
func (j *job) end() { j.land(j.result, j.err) }

// take takes the lease of another caller that has the load lock, if there is one.
func (j *job) take() (taken bool) {
	lease, taken := j.locks.take()
	if taken {
		j.lease = lease
	}
	return taken
}

func keysOf(jobs []*job) []registry.Key {
	keys := make([]registry.Key, len(jobs))
	for i, j := range jobs {
		keys[i] = j.miss.Key
	}
	return keys
}
