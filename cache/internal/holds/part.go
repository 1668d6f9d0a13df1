// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package holds

import (
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/parallel"
	"github.com/cachewright/cachewright/registry"
)

// maxErrors is how many errors of calls the error of a hold quotes.
const maxErrors = 4

// part is what one call to Redis covers of a hold. The goroutine of that call alone uses it.
type part struct {
	hold gateway.Hold
	// reached says that the call may have been carried out.
	reached bool
	// mayArrive is until when a call without an answer may still reach Redis, the zero time if each
	// had one.
	mayArrive time.Time
	// ends is when all its marks have expired.
	ends time.Time
}

// scopes are what the outbox keeps of a part.
func (p *part) scopes() []outbox.Scope {
	scopes := make([]outbox.Scope, 0, len(p.hold.Things))
	for _, thing := range p.hold.Things {
		scopes = append(scopes, outbox.Scope(thing))
	}
	return scopes
}

// queued is what the outbox needs to take the marks of a part away.
func (p *part) queued() outbox.Hold { return outbox.Hold{ID: p.hold.ID, Ends: p.ends} }

// called records a call that puts marks, and how it ended.
func (p *part) called(err error, ttl, timeout time.Duration) {
	if errors.Is(err, gateway.ErrPaused) || errors.Is(err, registry.ErrRejected) {
		return // it was not sent, or it changed nothing
	}
	p.reached = true
	last := time.Now()
	if err != nil {
		last = last.Add(timeout)
		p.mayArrive = last
	}
	if ends := last.Add(ttl); ends.After(p.ends) {
		p.ends = ends
	}
}

// each makes a call for each part, in parallel. It returns their errors in order.
func each(parts []*part, call func(*part) error) []error {
	return parallel.Each(parts, "a call for a hold", call)
}

// summary joins the first errors, and says how many calls failed.
func summary(failed []error) error {
	var first []error
	count := 0
	for _, err := range failed {
		if err == nil {
			continue
		}
		count++
		if count <= maxErrors {
			first = append(first, err)
		}
	}
	if count <= 1 {
		return errors.Join(first...)
	}
	return fmt.Errorf("%d of %d calls failed: %w", count, len(failed), errors.Join(first...))
}
