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

// verdict says whether a policy lists a name.
type verdict int

const (
	unknown verdict = iota
	claimed
	unclaimedModule    // the module has no policy
	unclaimedOperation // its policy does not list the operation
)

// unlisted is since when the namespace has no list of modules; zero: it has one.
type unlisted struct{ since time.Time }

// check finds verdicts on the names whose last one is too old. It stops when Redis does not answer.
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
				n.judgeModule(due[module], found, modules.names)
				continue
			}
		}
		if err != nil {
			return
		}
		n.unlisted.since = time.Time{}
		n.judgeOperations(due[module], policy)
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

// judgeModule judges the names of a module that has no policy in Redis. If the list has it, Redis
// has lost the policy, and the operator will restore it.
func (n *Names) judgeModule(names []name, isListed bool, modules []string) {
	if isListed {
		n.judge(names, unknown)
		return
	}
	n.judge(names, unclaimedModule)
	of := name{module: names[0].module}
	n.tell(of, func() string { return sentenceOfModule(n.config.Namespace, of, modules) })
}

// judgeOperations judges the names of a module that has a policy. An explicit default of 0 says
// that other operations are not cached on purpose.
func (n *Names) judgeOperations(names []name, policy registry.Policy) {
	listed := make([]string, 0, len(policy.Operations))
	for _, operation := range policy.Operations {
		listed = append(listed, operation.Name)
	}
	for _, of := range names {
		if of.operation == "" || policy.DefaultTTL != nil || slices.Contains(listed, of.operation) {
			n.judge([]name{of}, claimed)
			continue
		}
		n.judge([]name{of}, unclaimedOperation)
		n.tell(of, func() string { return sentenceOfOperation(n.config.Namespace, of, listed) })
	}
}

// missNamespace judges names in a namespace that has no list of modules: either there is no policy,
// or Redis has lost its data. Only the application is told, once.
func (n *Names) missNamespace(names []name, isLast bool) {
	n.judge(names, unknown)
	now := time.Now()
	if n.unlisted.since.IsZero() {
		n.unlisted.since = now
	}
	if isLast || now.Sub(n.unlisted.since) >= lossGrace {
		if !n.config.Cached() {
			n.tell(name{}, func() string { return sentenceOfNamespace(n.config.Namespace) })
		}
	}
}

// judge stores a verdict on names. Without one, or if they are claimed, their counts are dropped.
func (n *Names) judge(names []name, v verdict) {
	n.mu.Lock()
	defer n.mu.Unlock()
	until := time.Now().Add(v.life())
	for _, of := range names {
		found := n.used[of]
		found.verdict, found.until = v, until
		if v == unknown || v == claimed {
			found.counts = counts{}
		}
	}
}

// life is how long a verdict is used. Policies change, but rarely.
func (v verdict) life() time.Duration {
	const (
		ofClaimed   = 5 * time.Minute
		ofUnclaimed = time.Minute
	)
	switch v {
	case claimed:
		return ofClaimed
	case unclaimedModule, unclaimedOperation:
		return ofUnclaimed
	default:
		return 0
	}
}
