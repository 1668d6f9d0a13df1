// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache/internal/checks"
	"github.com/cachewright/cachewright/cache/internal/operations"
)

// defaultGrace is plenty for an invalidation that follows a change of the source at once.
const defaultGrace = 2 * time.Second

// Rule says which hits are audited, and how. It is a cache.Audit.
type Rule struct {
	Operations operations.Set
	// Share is the part of the hits that is audited.
	Share float64
	// Grace is how long an invalidation may take to follow a change of the source.
	Grace time.Duration
	// Equal compares values. nil: they are deeply equal, or encoded as the same bytes.
	Equal func(cached, loaded any) bool
	// Inconsistent, if set, is called for each inconsistent read.
	Inconsistent func(operations.Operation)
}

// WithDefaults returns the rule with defaults in place of zeros.
func (r Rule) WithDefaults() Rule {
	if r.Grace == 0 {
		r.Grace = defaultGrace
	}
	return r
}

// Rules are those of a cache. The first one that covers an operation applies.
type Rules []Rule

// Check returns an error if a rule cannot be obeyed.
func (r Rules) Check() error {
	for _, rule := range r {
		if err := rule.check(); err != nil {
			return err
		}
	}
	return nil
}

func (r Rule) check() error {
	if !(r.Share > 0 && r.Share <= 1) {
		return fmt.Errorf("WithAudit: the share must be more than 0 and at most 1, not %v", r.Share)
	}
	if r.Operations.LacksModule() {
		return errors.New("WithAudit: an operation has no module; " +
			"leave Operations empty to audit all of them")
	}
	return checks.Positive("WithAudit: Grace", r.Grace)
}
