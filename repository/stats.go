// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

// Stats counts what became of transactions since Open. Inner ones do not count.
type Stats struct {
	Committed  int64
	RolledBack int64 // attempts, those that were repeated included
	Retries    int64 // attempts after the first one
	// OutcomeUnknown are those that ended with ErrOutcomeUnknown.
	OutcomeUnknown int64
	// Unprotected are those whose changes could not be held. Under CommitAnyway they were committed,
	// and readers may have cached what was before. Under Refuse they were rolled back.
	Unprotected int64
	// HoldsLost are those whose hold ended before the outcome of COMMIT was known. Readers may have
	// cached what was before.
	HoldsLost int64
}

// Stats returns the counts.
func (d *DB) Stats() Stats {
	counts := &d.engine.Counts
	s := Stats{
		Committed:      counts.Committed.Load(),
		RolledBack:     counts.RolledBack.Load(),
		Retries:        counts.Retries.Load(),
		OutcomeUnknown: counts.OutcomeUnknown.Load(),
		Unprotected:    counts.Unprotected.Load(),
	}
	if d.keeper != nil {
		s.HoldsLost = d.keeper.Lost()
	}
	return s
}
