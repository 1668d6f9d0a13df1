// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// installAgainAfter is the time between two attempts to replace a library that a store keeps.
const installAgainAfter = time.Minute

// keptLibrary is an older library that the operator could not replace.
type keptLibrary struct {
	version int
	at      *link
	since   time.Time
}

// prober connects to a store and finds out whether it can be used.
type prober struct {
	connection *connection
	latency    *latency
	// leads reports whether this replica may write.
	leads func() bool
	clock clock.PassiveClock
	log   logr.Logger

	kept keptLibrary
}

// probe connects to the store where that is due, and checks it. If this replica leads, it installs
// the function library where it is missing. It returns the link that it probed, if there is one,
// which the caller has to leave.
func (p *prober) probe(ctx context.Context, isSettled func(Version) bool) (ProbeResult, *link) {
	version, l, err := p.connect(ctx, isSettled)
	if err != nil {
		return ProbeResult{Version: version, Err: err}, nil
	}
	found := ProbeResult{Version: version}
	found.Err = contained(func() (err error) {
		found.Health, found.KeepsLibrary, err = p.check(ctx, l)
		return err
	})
	if status.StackOf(found.Err) != "" {
		p.connection.disconnect()
	}
	return found, l
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

func (p *prober) check(
	ctx context.Context, l *link,
) (health registry.Health, keepsLibrary bool, err error) {
	began := p.clock.Now()
	health, err = l.store.Check(ctx)
	p.latency.add(p.clock.Since(began))
	if err != nil {
		return health, false, err
	}
	if p.leads() && health.LibraryVersion < registry.LibraryVersion {
		if keepsLibrary, err = p.install(ctx, l, health.LibraryVersion); err != nil {
			return health, false, err
		}
		if !keepsLibrary {
			health.LibraryVersion = registry.LibraryVersion
		}
	}
	return health, keepsLibrary, l.store.Writable(ctx)
}

// install loads the function library over an older version. If the operator's user may not do that,
// the store keeps the older one, unless that is too old to work with. The operator asks again after
// a while: the user may be allowed to by then.
func (p *prober) install(
	ctx context.Context, l *link, version int,
) (keepsLibrary bool, err error) {
	isKnown := version == p.kept.version && l == p.kept.at
	if isKnown && p.clock.Since(p.kept.since) < installAgainAfter {
		return true, nil
	}
	loaded, err := l.store.Install(ctx)
	address := p.connection.at().Address
	switch {
	case err == nil:
		p.log.Info("Installed the function library",
			"at", address, "servers", loaded, "version", registry.LibraryVersion)
		return false, nil
	case version < registry.OldestLibrary || !errors.Is(err, registry.ErrForbidden):
		return false, fmt.Errorf("installing the function library: %w", err)
	case !isKnown:
		p.log.Info("Redis keeps an older function library, which the operator may not replace",
			"at", address, "version", version, "wanted", registry.LibraryVersion)
	}
	p.kept = keptLibrary{version: version, at: l, since: p.clock.Now()}
	return true, nil
}
