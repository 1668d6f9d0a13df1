// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ledger is the history of a run: what the database has shown as committed, and the reads that were
// older than that. It judges them at the end, by these rules:
//
//  1. A read returns no row in an older version than the database had shown before the read began.
//  2. A commit whose hold failed is excused, as is one around a loss of marks. Reads that are older
//     than excused commits alone are counted by the reason.
type ledger struct {
	floor [lastItem + 1]atomic.Int64 // by id: the version that the database has shown

	mu       sync.Mutex
	seen     [lastItem + 1][]sighting
	excused  map[change]string
	losses   []time.Time
	suspects []suspect
	broken   []string     // reads that were wrong in another way
	stale    atomic.Int64 // reads with a row that was too old
}

// change is a row in the version that a transaction gave it.
type change struct{ ID, Version int64 }

// sighting is when the database was first seen with a version.
type sighting struct {
	version int64
	at      time.Time
}

// suspect is a read that was older than the database.
type suspect struct{ id, version, floor int64 }

// maxSuspects bounds what is kept of a run that found enough.
const maxSuspects = 100_000

// lossWindow is longer than a hold lasts, and than it takes to see a commit.
const lossWindow = 3 * holdOfWriter

// show notes what the database has.
func (l *ledger) show(id, version int64) {
	if version <= l.floor[id].Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[id] = append(l.seen[id], sighting{version, time.Now()})
	l.floor[id].Store(version)
}

// floors are the versions of all rows that reads which begin now must not fall below.
func (l *ledger) floors() (versions [lastItem + 1]int64) {
	for id := range versions {
		versions[id] = l.floor[id].Load()
	}
	return versions
}

// check compares the rows of a read with the versions before it.
func (l *ledger) check(read []Item, floors *[lastItem + 1]int64) {
	stale := false
	for _, row := range read {
		switch {
		case row.ID < 1 || row.ID > lastItem:
			l.refuse("there is no row %d", row.ID)
		case row.Version < floors[row.ID]:
			stale = true
			l.suspect(row, floors[row.ID])
		}
	}
	if stale {
		l.stale.Add(1)
	}
}

func (l *ledger) suspect(row Item, floor int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.suspects) < maxSuspects {
		l.suspects = append(l.suspects, suspect{row.ID, row.Version, floor})
	}
}

// refuse notes a read that no state of the database can explain.
func (l *ledger) refuse(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.broken) < 100 {
		l.broken = append(l.broken, fmt.Sprintf(format, args...))
	}
}

// excuse notes that the hold of a transaction failed.
func (l *ledger) excuse(changes []change, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.excused == nil {
		l.excused = map[change]string{}
	}
	for _, c := range changes {
		l.excused[c] = reason
	}
}

// lose runs something that takes marks away.
func (l *ledger) lose(do func()) {
	l.note()
	do()
	l.note()
}

func (l *ledger) note() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losses = append(l.losses, time.Now())
}

// Reasons of commits that are excused.
const (
	notHeld   = "could not be held"
	holdLost  = "the hold was lost"
	marksLost = "marks were lost"
)

// judge returns the reads that broke the rules, and counts those that were excused by the reason.
func (l *ledger) judge() (violations []string, excused map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	violations, excused = slices.Clone(l.broken), map[string]int{}
	for _, s := range l.suspects {
		reason, ok := l.reasonFor(s)
		if ok {
			excused[reason]++
			continue
		}
		violations = append(violations, fmt.Sprintf("row %d was read in version %d, after %d was committed", s.id, s.version, s.floor))
	}
	return violations, excused
}

// reasonFor finds why each commit that a read did not show is excused.
func (l *ledger) reasonFor(s suspect) (reason string, ok bool) {
	for _, commit := range l.seen[s.id] {
		if commit.version <= s.version || commit.version > s.floor {
			continue
		}
		switch excuse := l.excused[change{s.id, commit.version}]; {
		case excuse != "":
			reason = excuse
		case l.lostAround(commit.at):
			reason = marksLost
		default:
			return "", false
		}
	}
	return reason, reason != ""
}

func (l *ledger) lostAround(at time.Time) bool {
	return slices.ContainsFunc(l.losses, func(loss time.Time) bool { return at.Sub(loss).Abs() < lossWindow })
}
