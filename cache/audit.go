// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"time"

	"github.com/cachewright/cachewright/cache/internal/audit"
	"github.com/cachewright/cachewright/cache/internal/operations"
)

// Audit says which hits are compared with the source: see WithAudit.
type Audit struct {
	// Operations lists what is audited. If it is empty, that is all that no earlier Audit names.
	Operations []Operation
	// Share is the part of their fresh hits that is audited: more than 0 and at most 1, such as
	// 0.001.
	Share float64
	// Grace is how long an invalidation may take to follow a change of the source. Within it, an
	// entry that differs from the source counts as consistent. Default 2s.
	Grace time.Duration
	// Equal compares what was cached with what was loaded. Both are decoded, and of the type that
	// the caller of Fetch reads. Set it if values differ in what does not matter, such as the time
	// at which they were loaded. It must not change them. Default: they are deeply equal, or
	// encoded as the same bytes.
	Equal func(cached, loaded any) bool
	// Inconsistent, if set, is called for each inconsistent read, in the background.
	Inconsistent func(Operation)
}

// AuditResult is what an audit found.
type AuditResult string

const (
	// AuditConsistent: the source had what was served.
	AuditConsistent AuditResult = "consistent"
	// AuditInconsistent: the source had something else at the beginning and at the end of the
	// grace, and the entry was live all that time. An invalidation is missing.
	AuditInconsistent AuditResult = "inconsistent"
	// AuditInconclusive: the entry was invalidated or replaced, or expired, meanwhile. Or the
	// source changed back, the source or Redis failed, or the Client was closed.
	AuditInconclusive AuditResult = "inconclusive"
)

// AuditStats are the results of the audits of an operation, in this process.
type AuditStats struct {
	Operation

	Consistent   int64
	Inconsistent int64
	Inconclusive int64
}

// Inconsistency is the share of inconsistent reads in those that an audit could judge, from 0 to 1.
// It is 0 if there were none.
func (s AuditStats) Inconsistency() float64 {
	judged := s.Consistent + s.Inconsistent
	if judged == 0 {
		return 0
	}
	return float64(s.Inconsistent) / float64(judged)
}

// rule returns what the auditor goes by.
func (a Audit) rule() audit.Rule {
	rule := audit.Rule{
		Operations: covered(a.Operations), Share: a.Share, Grace: a.Grace, Equal: a.Equal,
	}.WithDefaults()
	if a.Inconsistent != nil {
		rule.Inconsistent = func(operation operations.Operation) {
			a.Inconsistent(Operation(operation))
		}
	}
	return rule
}
