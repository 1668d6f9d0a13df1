// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"

	"github.com/go-logr/logr"

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// errPanicked: our own code panicked, and not over what a store answered. Nothing is known of the resource.
var errPanicked = errors.New("an error in the operator")

// stackIn returns where an error panicked; empty: nowhere.
func stackIn(err error) string {
	var panicked *contain.Error
	if errors.As(err, &panicked) {
		return panicked.Stack
	}
	return ""
}

// tellPanic logs where an error panicked, if it did.
func tellPanic(log logr.Logger, err error) {
	if stack := stackIn(err); stack != "" {
		log.Error(err, "A panic was contained: please report it", "stack", stack)
	}
}

// lookContained takes a look at the store. Whatever panics is an error of the store: monitors share the process with those
// of all tenants.
func (m *Monitor) lookContained(ctx context.Context) error {
	err := m.contained(func() error { return m.look(ctx) })
	if stackIn(err) == "" {
		return err
	}
	// It may panic again over the news, so these are contained, too.
	if again := m.contained(func() error { return m.misbehaved(ctx, err) }); again != nil {
		tellPanic(m.Log, again)
	}
	return err
}

func (m *Monitor) contained(do func() error) (err error) {
	defer contain.Panic(&err, registry.ErrMisbehaves)
	return do()
}

// misbehaved takes note that a look panicked. The connection is given up: half a reply may be left on it.
func (m *Monitor) misbehaved(ctx context.Context, err error) error {
	m.disconnect()
	changed := m.note(finding{generation: m.connector.declaration().generation, err: err})
	if !m.leads() {
		return nil
	}
	if changed {
		m.wakeAll(ctx)
		m.wakeStore(ctx)
	}
	m.wakeWaiting(ctx)
	return nil
}

// distrust gives up a connection over which a reconcile panicked. Nobody is given it before the next look.
func (m *Monitor) distrust(l *link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link == l {
		m.unlink()
		m.lookNow()
	}
}
