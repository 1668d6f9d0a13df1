// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

// T is what WithManifests needs of a test. A *testing.T is one.
type T interface {
	Helper()
	Cleanup(cleanup func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// strict lets a test fail for each name that no policy lists.
type strict struct {
	t     T
	globs string

	mu    sync.Mutex
	told  map[operationKey]bool
	ended bool
}

func newStrict(t T, globs string) *strict {
	s := &strict{t: t, globs: globs, told: map[operationKey]bool{}}
	t.Cleanup(s.end)
	return s
}

// end keeps what still runs from failing a test that is over, which would end the process.
func (s *strict) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// check lets the test fail for the names of a call, if no policy lists them.
func (s *strict) check(call Call, policies map[string]registry.Policy) {
	s.t.Helper()
	for _, module := range call.Modules {
		s.checkName(operationKey{module: module}, policies)
	}
	s.checkName(operationKey{call.Module, call.Operation}, policies)
	for _, thing := range call.Covered {
		s.checkName(operationOf(thing), policies)
	}
}

func operationOf(thing cache.Covered) operationKey {
	switch thing := thing.(type) {
	case cache.Key:
		return operationKey{thing.Module, thing.Operation}
	case cache.Scope:
		return operationKey{thing.Module, thing.Operation}
	default:
		return operationKey{}
	}
}

func (s *strict) checkName(name operationKey, policies map[string]registry.Policy) {
	s.t.Helper()
	if name.module == "" {
		return // another error, or every module
	}
	policy, found := policies[name.module]
	switch {
	case !found:
		modules := slices.Sorted(maps.Keys(policies))
		s.fail(operationKey{module: name.module}, fmt.Sprintf("module %q has no CachePolicy in %s: "+
			"nothing is cached. Policies there: %s", name.module, s.globs, strings.Join(modules, ", ")))
	case !lists(policy, name.operation):
		s.fail(name, fmt.Sprintf("operation %q of module %q is not in its CachePolicy in %s, which has "+
			"no defaultTTL: it is not cached. Operations there: %s", name.operation, name.module, s.globs,
			operationsOf(policy)))
	}
}

// lists reports whether a policy lists an operation; empty: all of them. A default TTL covers every
// operation; one of 0 says that the others are not cached on purpose.
func lists(policy registry.Policy, operation string) bool {
	return operation == "" || policy.DefaultTTL != nil ||
		slices.ContainsFunc(policy.Operations, func(o registry.OperationPolicy) bool {
			return o.Name == operation
		})
}

func operationsOf(policy registry.Policy) string {
	names := make([]string, 0, len(policy.Operations))
	for _, o := range policy.Operations {
		names = append(names, o.Name)
	}
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (s *strict) fail(name operationKey, sentence string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.told[name] {
		return
	}
	s.told[name] = true
	s.t.Errorf("cachetest: %s (used at %s)", sentence, caller())
}

// caller returns the place in the application that called the Fake, perhaps through package cache.
func caller() string {
	const (
		maxFrames = 32
		here      = "github.com/cachewright/cachewright/cache"
	)
	counters := make([]uintptr, maxFrames)
	frames := runtime.CallersFrames(counters[:runtime.Callers(1, counters)])
	for {
		frame, more := frames.Next()
		inCache := strings.HasPrefix(frame.Function, here+".") ||
			strings.HasPrefix(frame.Function, here+"/cachetest.")
		if !more || !inCache {
			return fmt.Sprintf("%s:%d", filepath.Base(frame.File), frame.Line)
		}
	}
}
