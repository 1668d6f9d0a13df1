// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package unclaimed

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cachewright/cachewright/registry"
)

const (
	// maxChecks bounds the policies that one Flush reads.
	maxChecks = 64
	// lossGrace is for how long a namespace may have no list of modules before it counts as one
	// without policies. After a loss of data, the operator restores the list within seconds.
	lossGrace = 30 * time.Second
)

// state says whether a policy lists a name.
type state int

const (
	unknown state = iota
	claimed
	unclaimedModule    // the module has no policy
	unclaimedOperation // its policy does not list the operation
)

// unlisted is since when the namespace has no list of modules; zero: it has one.
type unlisted struct{ since time.Time }

// check finds the states of names whose last one is too old. It stops when Redis does not answer.
func (n *Names) check(ctx context.Context, isLast bool) {
	due := n.due()
	modules := &listing{redis: n.config.Redis}
	for _, module := range slices.Sorted(maps.Keys(due))[:min(len(due), maxChecks)] {
		policy, found, err := n.config.Redis.FindPolicy(ctx, module)
		if err == nil && !found {
			found, err = modules.lists(ctx, module)
			if errors.Is(err, registry.ErrModulesUnknown) {
				n.missNamespace(due[module], isLast)
				continue
			}
			n.unlisted.since = time.Time{}
			if err == nil {
				n.resolveModule(due[module], found, modules.names)
				continue
			}
		}
		if err != nil {
			return
		}
		n.unlisted.since = time.Time{}
		n.resolveOperations(due[module], policy)
	}
}

// due returns the names to check, by module.
func (n *Names) due() map[string][]name {
	n.mu.Lock()
	defer n.mu.Unlock()
	due, now := make(map[string][]name), time.Now()
	for of, found := range n.used {
		if found.counts != (counts{}) && !now.Before(found.until) {
			due[of.module] = append(due[of.module], of)
		}
	}
	return due
}

// listing reads the list of modules when it is first asked.
type listing struct {
	redis Redis
	asked bool
	names []string
	err   error
}

func (l *listing) lists(ctx context.Context, module string) (bool, error) {
	if !l.asked {
		l.asked = true
		l.names, l.err = l.redis.ListModules(ctx)
	}
	return slices.Contains(l.names, module), l.err
}

// resolveModule finds the state of the names of a module that has no policy in Redis. If the list
// has it, Redis has lost the policy, and the operator will restore it.
func (n *Names) resolveModule(names []name, isListed bool, modules []string) {
	if isListed {
		n.set(names, unknown)
		return
	}
	n.set(names, unclaimedModule)
	of := name{module: names[0].module}
	n.logOnce(of, func() string { return sentenceOfModule(n.config.Namespace, of, modules) })
}

// resolveOperations finds the state of the names of a module that has a policy. An explicit default
// of 0 says that other operations are not cached on purpose.
func (n *Names) resolveOperations(names []name, policy registry.Policy) {
	listed := make([]string, 0, len(policy.Operations))
	for _, operation := range policy.Operations {
		listed = append(listed, operation.Name)
	}
	for _, of := range names {
		if of.operation == "" || policy.DefaultTTL != nil || slices.Contains(listed, of.operation) {
			n.set([]name{of}, claimed)
			continue
		}
		n.set([]name{of}, unclaimedOperation)
		n.logOnce(of, func() string { return sentenceOfOperation(n.config.Namespace, of, listed) })
	}
}

// missNamespace is for names in a namespace that has no list of modules: either there is no policy,
// or Redis has lost its data. That is logged once, and not reported.
func (n *Names) missNamespace(names []name, isLast bool) {
	n.set(names, unknown)
	now := time.Now()
	if n.unlisted.since.IsZero() {
		n.unlisted.since = now
	}
	if isLast || now.Sub(n.unlisted.since) >= lossGrace {
		if !n.config.Cached() {
			n.logOnce(name{}, func() string { return sentenceOfNamespace(n.config.Namespace) })
		}
	}
}

// set stores the state of names. If it is not known, or they are claimed, their counts are dropped.
func (n *Names) set(names []name, s state) {
	n.mu.Lock()
	defer n.mu.Unlock()
	until := time.Now().Add(s.life())
	for _, of := range names {
		found := n.used[of]
		found.state, found.until = s, until
		if s == unknown || s == claimed {
			found.counts = counts{}
		}
	}
}

// life is how long a state is used. Policies change, but rarely.
func (s state) life() time.Duration {
	const (
		ofClaimed   = 5 * time.Minute
		ofUnclaimed = time.Minute
	)
	switch s {
	case claimed:
		return ofClaimed
	case unclaimedModule, unclaimedOperation:
		return ofUnclaimed
	default:
		return 0
	}
}
