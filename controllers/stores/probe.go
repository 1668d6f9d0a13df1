// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// prober connects to a store and finds out whether it can be used.
type prober struct {
	connection *connection
	latency    *latency
	// leads reports whether this replica may write.
	leads func() bool
	clock clock.PassiveClock
	log   logr.Logger
}

// probe connects to the store where that is due, and checks it. If this replica leads, it installs
// the function library where it is missing. It returns the link that it probed, if there is one,
// which the caller has to leave.
func (p *prober) probe(ctx context.Context, isSettled func(Version) bool) (ProbeResult, *link) {
	version, l, err := p.connect(ctx, isSettled)
	if err != nil {
		return ProbeResult{Version: version, Err: err}, nil
	}
	var health registry.Health
	err = contained(func() (err error) {
		health, err = p.check(ctx, l.store)
		return err
	})
	if status.StackOf(err) != "" {
		p.connection.disconnect()
	}
	return ProbeResult{Version: version, Err: err, Health: health}, l
}

// contained turns a panic over what a store answered into an error of the store.
func contained(do func() error) (err error) {
	defer contain.Panic(&err, registry.ErrMisbehaves)
	return do()
}

func (p *prober) connect(
	ctx context.Context, isSettled func(Version) bool,
) (Version, *link, error) {
	for {
		version, err := p.connection.renew(ctx, isSettled)
		if err != nil {
			return version, nil, err
		}
		// A reconcile may have discarded the link, or the resource have changed.
		if l := p.connection.use(p.connection.connector.declaration()); l != nil {
			return version, l, nil
		}
	}
}

func (p *prober) check(ctx context.Context, store calls.Store) (registry.Health, error) {
	began := p.clock.Now()
	health, err := store.Check(ctx)
	p.latency.add(p.clock.Since(began))
	if err != nil {
		return health, err
	}
	if p.leads() && health.LibraryVersion < registry.LibraryVersion {
		loaded, err := store.Install(ctx)
		if err != nil {
			return health, fmt.Errorf("installing the function library: %w", err)
		}
		p.log.Info("Installed the function library",
			"at", p.connection.at().Address, "servers", loaded, "version", registry.LibraryVersion)
		health.LibraryVersion = registry.LibraryVersion
	}
	return health, store.Writable(ctx)
}
