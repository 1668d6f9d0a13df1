// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
)

// asked says whether a statement is the question for a row.
func asked(query string) bool { return strings.Contains(query, "'[]')") }

// A COMMIT is lost, and InTx asks for its row.
func TestACommitThatWasLostIsAskedForInTheOutbox(t *testing.T) {
	t.Parallel()
	rows := map[string]struct {
		answers []error
		runs    int
		want    error
	}{
		"the row is there":               {[]error{stateError("23505")}, 1, nil},
		"the row is not there":           {[]error{nil}, 2, nil},
		"away, then there":               {[]error{errLost, stateError("57P03"), stateError("23505")}, 1, nil},
		"a standby, then the row":        {[]error{stateError("25006"), stateError("23505")}, 1, nil},
		"locked, then not there":         {[]error{stateError("55P03"), nil}, 2, nil},
		"another constraint, then there": {[]error{stateError("23514"), stateError("23505")}, 1, nil},
		"away for ever":                  {[]error{errLost}, 1, repository.ErrOutcomeUnknown},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				fake, c := newFakeDB(), cachetest.New(cachetest.WithDefaultTTL(hour))
				db := fake.opened(t, repository.WithCache(c), repository.WithOutbox(), quiet())
				commits, questions, runs := 0, 0, 0
				fake.commit = func() error {
					commits++
					if commits == 1 {
						return errLost
					}
					return nil
				}
				fake.status = func() (string, string, error) {
					t.Error("PostgreSQL was asked for the number of the transaction")
					return "", "", errOurs
				}
				fake.statement = func(query string) error {
					if !asked(query) {
						return nil
					}
					if cached(t, c, ada) {
						t.Error("it is cached before the outcome is known")
					}
					answer := row.answers[min(questions, len(row.answers)-1)]
					questions++
					return answer
				}
				err := db.InTx(t.Context(), func(ctx context.Context) error {
					runs++
					return touchAda(ctx)
				})
				if !errors.Is(err, row.want) || runs != row.runs {
					t.Errorf("%d runs, %v; want %d, %v", runs, err, row.runs, row.want)
				}
				if held := !cached(t, c, ada); held != (row.want != nil) {
					t.Errorf("held afterwards: %v", held)
				}
			})
		})
	}
}

func TestARowIsWrittenOnlyWhereItIsWanted(t *testing.T) {
	t.Parallel()
	fake := newFakeDB()
	db := fake.opened(t, repository.WithOutbox())
	nothing := func(context.Context) error { return nil }
	if err := db.InTx(t.Context(), nothing, repository.ReadOnly()); err != nil || strings.Contains(fake.history(), "outbox") {
		t.Errorf("%v: %s", err, fake.history())
	}
	if err := db.InTx(t.Context(), nothing); err != nil || strings.Count(fake.history(), "INSERT INTO cachewright_outbox") != 1 {
		t.Errorf("%v: %s", err, fake.history())
	}
	fake.change(func(f *fakeDB) {
		f.statement = func(query string) error {
			if strings.HasPrefix(query, "INSERT INTO cachewright_outbox") {
				return stateError("42P01") // there is no such table
			}
			return nil
		}
	})
	if err := db.InTx(t.Context(), nothing); !errors.Is(err, stateError("42P01")) || !strings.HasSuffix(fake.history(), "ROLLBACK") {
		t.Errorf("%v: %s", err, fake.history())
	}
}

func TestARelayNeedsACacheAndATime(t *testing.T) {
	t.Parallel()
	c := repository.WithCache(cachetest.New(cachetest.WithDefaultTTL(hour)))
	if _, err := newFakeDB().opened(t).Relay(); err == nil {
		t.Error("there is a relay without a cache")
	}
	for _, poll := range []time.Duration{-1, 0, time.Millisecond, 2 * hour} {
		if _, err := newFakeDB().opened(t, c).Relay(repository.PollEvery(poll)); err == nil {
			t.Errorf("it polls every %s", poll)
		}
	}
	for _, d := range []repository.Dialect{0, 4} {
		if _, err := repository.OutboxSQL(d); err == nil {
			t.Errorf("dialect %d has an outbox", d)
		}
		if _, err := repository.TriggerSQL(d, repository.Watched{Table: "users", Module: "users"}); err == nil {
			t.Errorf("dialect %d has triggers", d)
		}
	}
}
