// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package warn logs what went wrong with the cache, and not all of it while it is away.
package warn

import (
	"log/slog"
	"sync"
	"time"
)

// interval is the time between two warnings.
const interval = 10 * time.Second

// Log logs some of what it is told.
type Log struct {
	logger *slog.Logger

	mu      sync.Mutex
	last    time.Time
	skipped int
}

// New returns a Log that writes to logger.
func New(logger *slog.Logger) *Log { return &Log{logger: logger} }

// Report logs an error, unless it has just logged another one.
func (l *Log) Report(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.last) >= interval {
		l.logger.Warn("The cache may differ from the database for a while",
			"error", err, "notLogged", l.skipped)
		l.last, l.skipped = now, 0
		return
	}
	l.skipped++
}
