// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/hack/conformance/internal/stage"
	"github.com/cachewright/cachewright/registry"
)

// scene is where one case plays. Its methods end the case when something is wrong.
type scene struct {
	ctx context.Context
	*world
}

// failure ends a case.
type failure struct{ error }

func (s *scene) fail(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)})
}

// must ends the case if what the runner itself does fails.
func (s *scene) must(err error) {
	if err != nil {
		panic(failure{fmt.Errorf("the runner: %w", err)})
	}
}

// none is the answer to what has no result.
type none struct{}

// ask asks the driver, and starts one if none runs.
func (s *scene) ask(do string, fields driver.Fields, answer any) {
	if err := s.try(do, fields, answer); err != nil {
		panic(failure{err})
	}
}

// try does what ask does, and returns the client's error.
func (s *scene) try(do string, fields driver.Fields, answer any) error {
	s.start()
	return s.driver.Ask(s.ctx, do, fields, answer)
}

func (s *scene) start() {
	if s.driver != nil {
		return
	}
	s.driver, s.startErr = s.Start()
	if s.startErr != nil {
		panic(failure{s.startErr})
	}
	s.opened = nil
}

// options are those of the client that the driver opens.
type options struct {
	schema string
	near   bool
	// admin: it logs in as everybody may, not as the tenant, whose rights end at the namespace.
	admin bool
}

// open has the driver open a client, unless it has one with these options.
func (s *scene) open(o options) {
	if s.driver != nil && s.opened != nil && *s.opened == o {
		return
	}
	username, password := s.Stage.Username, s.Stage.Password
	if o.admin {
		username, password = "", ""
	}
	s.ask("open", driver.Fields{
		"addresses": s.Stage.Addresses, "cluster": s.Stage.IsCluster, "resp": s.RESP,
		"username": username, "password": password,
		"namespace": stage.Namespace, "schema": o.schema, "near": o.near,
	}, &none{})
	s.opened = &o
}

// policy is that of the module of most cases. The TTL is far longer than a case takes.
func policy() registry.Policy {
	return registry.Policy{
		DefaultTTL: new(time.Minute),
		Operations: []registry.OperationPolicy{
			{Name: "list", TTL: time.Minute, StaleFor: time.Minute, NegativeTTL: time.Minute},
			{Name: "small", TTL: time.Minute, MaxEntryBytes: 8},
			{Name: "private", TTL: time.Minute, Scope: registry.ScopeUser},
			{Name: "off", TTL: 0},
		},
	}
}

// module returns a slot that no case has used, with a policy, and opens a client.
func (s *scene) module() registry.Slot {
	s.open(options{})
	return s.slotWith(policy())
}

func (s *scene) slotWith(policy registry.Policy) registry.Slot {
	s.modules++
	slot := registry.Slot{Namespace: stage.Namespace, Module: fmt.Sprintf("case-%d", s.modules)}
	s.must(s.Stage.Clear(s.ctx, slotKey(slot)))
	_, err := s.Stage.Registry.ApplyPolicy(s.ctx, slot, policy)
	s.must(err)
	s.fence(slot) // as each client does that reads the slot first
	return slot
}

func (s *scene) fence(slot registry.Slot) {
	fences, err := s.Stage.Registry.Fences(s.ctx, []registry.Slot{slot})
	s.must(err)
	s.must(s.Stage.Registry.Fence(s.ctx, fences))
}

func slotKey(slot registry.Slot) string { return "cw:{" + slot.String() + "}" }

// entry is the key of an entry. Its id is that of params, which are JSON.
type entry struct {
	registry.Key

	params string
}

func entryOf(slot registry.Slot, operation, params, user string) entry {
	id, err := cache.ID(json.RawMessage(params))
	if err != nil {
		panic(failure{fmt.Errorf("the runner: %w", err)})
	}
	return entry{
		Key:    registry.Key{Slot: slot, Operation: operation, ID: id, User: user},
		params: params,
	}
}

// fields are those of a request about an entry.
func (e entry) fields() driver.Fields {
	return driver.Fields{
		"module": e.Module, "operation": driver.Bytes(e.Operation), "user": driver.Bytes(e.User),
		"id": driver.Bytes(e.ID), "params": e.params,
	}
}

func (e entry) with(name string, value any) driver.Fields {
	fields := e.fields()
	fields[name] = value
	return fields
}

func (e entry) String() string {
	return fmt.Sprintf("operation %q, params %s, user %q of module %s",
		e.Operation, e.params, e.User, e.Module)
}

// eventually waits until there is no error.
func (s *scene) eventually(try func() error) { s.within(s.Patience, try) }

func (s *scene) within(limit time.Duration, try func() error) {
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.fail("after %s still: %w", limit, err)
		}
	}
}
