// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores/calls"
)

// connector makes connections to one store.
type connector interface {
	// declaration returns how the store is declared now.
	declaration() declaration
	// connect returns a connection as declared; nil: former is one, and its Secrets are the same.
	connect(ctx context.Context, declared declaration, former *link) (*link, error)
	// onDataLoss says what to do when the store went back to an older state.
	onDataLoss() v1.DataLossPolicy
}

// declaration is what a store is declared to be at one moment.
type declaration struct {
	location status.Location
	version  Version
	// origin names all that a connection is made from, without Secrets. A connection serves only
	// declarations of its own origin.
	origin string
	store  *v1.CacheStore // nil: the store is given
}

// Version is one generation of one CacheStore. A CacheStore that was deleted and created again
// counts its generations from the start.
type Version struct {
	uid        types.UID
	generation int64
}

// VersionOf returns the version of a CacheStore.
func VersionOf(store *v1.CacheStore) Version { return Version{store.UID, store.Generation} }

// connection keeps a store connected as it is declared. It is safe for concurrent use.
type connection struct {
	connector     connector
	clock         clock.PassiveClock
	log           logr.Logger
	renewInterval time.Duration
	// lost is called when the link is given up: the next one may lead to another Redis.
	lost func()

	mu       sync.Mutex
	location status.Location // as declared when the link was last held against the declaration
	link     *link           // nil: not connected
	modules  *calls.ModuleCache
	renewed  time.Time // when the link was last held against the declaration
	// why the store could not be connected as declared, when last known; nil: it could
	refusal error
}

// at names the store in messages.
func (c *connection) at() status.Location {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.location
}

// renew compares the link with the declaration where that is due. It is due if there is no link,
// the store was declared otherwise, some time passed, or isSettled denies the declared version.
// renew returns that version. Without an error there is a link that was made for it.
func (c *connection) renew(ctx context.Context, isSettled func(Version) bool) (Version, error) {
	declared := c.connector.declaration()
	former, due := c.renewalDue(declared)
	if !due && isSettled(declared.version) {
		return declared.version, nil
	}
	next, err := c.connector.connect(ctx, declared, former)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.location = declared.location
	if err != nil {
		return declared.version, c.refused(declared, err)
	}
	c.renewed, c.refusal = c.clock.Now(), nil
	if next != nil {
		c.replace(declared, next)
	}
	return declared.version, nil
}

func (c *connection) renewalDue(declared declaration) (former *link, due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link, !c.link.serves(declared) || c.location != declared.location ||
		c.clock.Since(c.renewed) >= c.renewInterval
}

// refused decides what becomes of the link when it could not be held against its declaration; nil:
// it stays in use. It is called with the lock held.
func (c *connection) refused(declared declaration, err error) error {
	if !c.link.serves(declared) {
		c.unlink()
	}
	if status.Classify(err, declared.location).IsOfStore() {
		c.refusal = err
		return err
	}
	if c.link == nil || c.refusal != nil {
		return err
	}
	// The API server has a bad time. Redis may be well.
	c.log.Error(err, "Cannot read the Secrets of the store, keeping the connection")
	return nil
}

// replace replaces the link. It is called with the lock held.
func (c *connection) replace(declared declaration, next *link) {
	if c.link != nil {
		c.log.Info("Reconnected, as Secrets or the resource changed", "at", c.location.Address)
	}
	if !c.link.serves(declared) {
		c.modules = calls.NewModuleCache() // the lists may be those of another Redis
	}
	c.unlink()
	next.store = calls.NewClaimingStore(calls.NewCachingStore(next.store, c.modules), c.clock)
	next.origin = declared.origin
	c.link = next
}

// unlink gives up the link, which ends with its last user. It is called with the lock held.
func (c *connection) unlink() {
	if c.link == nil {
		return
	}
	c.link.retire()
	c.link = nil
	c.lost()
}

// use returns the link, which the caller has to leave; nil: it does not lead to what is declared.
func (c *connection) use(declared declaration) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.link.serves(declared) {
		return nil
	}
	c.link.enter()
	return c.link
}

// disconnect gives up the link, which ends with its last user.
func (c *connection) disconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unlink()
}

// discard gives up a link, and reports whether it was in use still.
func (c *connection) discard(l *link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != l {
		return false
	}
	c.unlink()
	return true
}
