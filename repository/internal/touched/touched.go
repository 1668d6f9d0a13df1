// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package touched keeps what a transaction changes of what is cached, within bounds.
package touched

import (
	"errors"
	"fmt"

	"github.com/cachewright/cachewright/cache"
)

// maxThings bounds what is kept one by one. Beyond it, entries of an operation become the
// operation, and scopes of a module become the module.
const maxThings = 256

var (
	errNothing = errors.New("it names neither a module nor a user")
	errUsers   = fmt.Errorf("it is one of more than %d users in every module; name modules instead",
		maxThings)
)

// Set is a set of keys and scopes. The zero value is empty.
type Set struct {
	modules map[string]*module
	users   map[string]bool // in every module
}

// module is what is touched of a module.
type module struct {
	all        bool
	scopes     map[cache.Scope]bool
	operations map[string]map[entry]cache.Key
}

// entry identifies a key.
type entry struct{ id, user string }

// Add adds keys and scopes, until one cannot be added. An error says what is wrong with it.
func (s *Set) Add(on ...cache.Covered) error {
	for _, thing := range on {
		if err := s.add(thing); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) add(thing cache.Covered) error {
	switch thing := thing.(type) {
	case cache.Key:
		return s.addKey(thing)
	case cache.Scope:
		return s.addScope(thing)
	default:
		return fmt.Errorf("a transaction touches values of the types Key and Scope, not %T", thing)
	}
}

func (s *Set) addKey(key cache.Key) error {
	if key.Module == "" || key.Operation == "" {
		return errors.New("a key needs a module and an operation")
	}
	id, err := cache.ID(key.Params)
	if err != nil {
		return fmt.Errorf("a key of module %s, operation %s: %w", key.Module, key.Operation, err)
	}
	s.module(key.Module).addKey(entry{id: id, user: key.User}, key)
	return nil
}

func (s *Set) addScope(scope cache.Scope) error {
	switch {
	case scope.Module != "":
		s.module(scope.Module).addScope(scope)
		return nil
	case scope.User == "" || scope.Operation != "":
		return errNothing
	case len(s.users) >= maxThings && !s.users[scope.User]:
		return errUsers
	}
	if s.users == nil {
		s.users = map[string]bool{}
	}
	s.users[scope.User] = true
	return nil
}

func (s *Set) module(name string) *module {
	if s.modules == nil {
		s.modules = map[string]*module{}
	}
	m := s.modules[name]
	if m == nil {
		m = &module{scopes: map[cache.Scope]bool{}, operations: map[string]map[entry]cache.Key{}}
		s.modules[name] = m
	}
	return m
}

func (m *module) addKey(e entry, key cache.Key) {
	if m.all || m.scopes[cache.Scope{Module: key.Module, Operation: key.Operation}] {
		return
	}
	of := m.operations[key.Operation]
	if of == nil {
		of = map[entry]cache.Key{}
		m.operations[key.Operation] = of
	}
	of[e] = key
	if len(of) > maxThings {
		m.addScope(cache.Scope{Module: key.Module, Operation: key.Operation})
	}
	if len(m.operations) > maxThings {
		m.addScope(cache.Scope{Module: key.Module})
	}
}

func (m *module) addScope(scope cache.Scope) {
	if m.all {
		return
	}
	m.scopes[scope] = true
	if scope.User == "" {
		delete(m.operations, scope.Operation)
	}
	if scope == (cache.Scope{Module: scope.Module}) || len(m.scopes) > maxThings {
		*m = module{all: true, scopes: map[cache.Scope]bool{{Module: scope.Module}: true}}
	}
}

// Merge adds all of another set.
func (s *Set) Merge(other *Set) error { return s.Add(other.Covered()...) }

// Covered returns what is in the set, in no order.
func (s *Set) Covered() []cache.Covered {
	var all []cache.Covered
	for _, m := range s.modules {
		for scope := range m.scopes {
			all = append(all, scope)
		}
		for _, keys := range m.operations {
			for _, key := range keys {
				all = append(all, key)
			}
		}
	}
	for user := range s.users {
		all = append(all, cache.Scope{User: user})
	}
	return all
}
