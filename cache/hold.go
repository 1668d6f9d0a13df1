// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache/internal/entries"
	"github.com/cachewright/cachewright/cache/internal/holds"
	"github.com/cachewright/cachewright/registry"
)

var (
	_ Holder  = (*Client)(nil)
	_ Covered = Key{}
	_ Covered = Scope{}
)

var errNoClient = errors.New("the Client is nil; make one with New")

// Holder forbids for a while to cache something. Writers hold what a transaction changes, from
// before its commit until after it. Then no read from Redis shows what was before the commit, also
// if the writer dies in between. *Client is a Holder.
type Holder interface {
	// Hold invalidates what is named, hard. Until the hold ends, nothing of it is served or stored, in
	// any process: readers load it. The ttl is more than 0 and at most registry.MaxHold (10m), by the
	// clock of Redis. The commit must take effect within it, or renew the hold.
	//
	// A Scope of a user, also in one operation, holds all that the user has in the module. One with
	// the user alone does so in each module that the namespace has now. What no policy caches may be
	// held, without an effect.
	//
	// With an error nothing is held: what was has been released, or its release is queued. Make the
	// change all the same. The Hold is never nil: call its Release after the change, which
	// invalidates what was to be held. Hold takes at most half of the time that ctx has left. It
	// fails at once while Redis does not serve.
	Hold(ctx context.Context, ttl time.Duration, on ...Covered) (Hold, error)
}

// Hold is what Holder.Hold returns. Its methods are safe for concurrent use.
type Hold interface {
	// Renew lets the hold last for ttl from now on, also if that is earlier. After an error the former
	// end applies, or the new one: try again before both.
	Renew(ctx context.Context, ttl time.Duration) error
	// Release ends the hold. Call it once the change has taken effect, or will not. It invalidates
	// what the hold did not cover until now.
	//
	// An error that is ErrQueued says that Redis could not be reached. The Client tries in the
	// background until the release is delivered. Until then this process loads what is covered. Only
	// the first call does anything.
	Release(ctx context.Context) error
	// Err is nil as long as the hold covers everything. It is the error of Hold, if that failed. It is
	// ErrHoldLost after a renewal or the release found that the hold had not lasted. Then readers may
	// have seen what was before the change. The renewal, or the release, invalidated that.
	Err() error
}

// Covered is what a hold can cover: a Key or a Scope.
type Covered interface{ covered() }

func (Key) covered()   {}
func (Scope) covered() {}

// Hold implements Holder. It makes one call for each 64 things of a module, in parallel.
func (c *Client) Hold(ctx context.Context, ttl time.Duration, on ...Covered) (Hold, error) {
	if c == nil {
		return holds.Nothing(errNoClient)
	}
	request := holds.Request{TTL: ttl}
	for _, thing := range on {
		switch thing := thing.(type) {
		case Key:
			entry, err := c.entries.KeyOf(entries.Key(thing))
			if err != nil {
				request.Refuse(err)
				continue
			}
			request.AddEntry(entry)
			c.unclaimed.Invalidated(thing.Module, thing.Operation)
		case Scope:
			request.AddScope(thing.Module, registry.Scope{Operation: thing.Operation, User: thing.User})
			c.unclaimed.Invalidated(thing.Module, thing.Operation)
		default:
			request.Refuse(fmt.Errorf("a hold covers values of the types Key and Scope, not %T", thing))
		}
	}
	return c.holder.Hold(ctx, request)
}
