// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"strings"
	"testing"
)

// On a server whose default engine has no transactions, rows of what is rolled back go as well.
func TestTheOutboxIsRolledBackWhateverTheDefaultEngine(t *testing.T) {
	t.Parallel()
	b := backends[2]
	dsn := b.dsn(t)
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	pool := b.connect(t, dsn+separator+"default_storage_engine=MyISAM")
	installOutbox(t, b, pool)
	tx, err := pool.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	execute(t, tx, "INSERT INTO cachewright_outbox (covers) VALUES ('[]')")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := number(t, pool, openRows); got != 0 {
		t.Errorf("%d rows of what was rolled back", got)
	}
}
