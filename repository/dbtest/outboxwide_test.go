// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
)

// manyRows are fewer than a trigger names one by one.
const manyRows = 250

// A relay reads no row that is too large. So a trigger names no long values, and not many of some
// length: they end the operation or the module.
func TestLongValuesEndTheOperation(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		for _, size := range []int{1000, 2 << 10, 300 << 10} {
			pool := b.open(t)
			text := map[bool]string{true: "MEDIUMTEXT", false: "TEXT"}[b.dialect == repository.MySQL]
			execute(t, pool, "CREATE TABLE pages (id INT PRIMARY KEY, url "+text+" NOT NULL)")
			installOutbox(t, b, pool, repository.Watched{
				Table: "pages", Module: "pages",
				Entries: []repository.WatchedEntry{{Operation: "getByUrl", Column: "url"}},
			})
			wide := strings.Repeat("ü", size/2)
			key := cache.Key{Module: "pages", Operation: "getByUrl", Params: "1" + wide}
			c := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
			fill(t, c, key)
			rows := make([]string, 0, manyRows)
			for i := range min(manyRows, 600<<10/size) {
				rows = append(rows, fmt.Sprintf("(%d, '%d%s')", i, i, wide))
			}
			execute(t, pool, "INSERT INTO pages VALUES "+strings.Join(rows, ", "))
			relay := runRelay(t, open(t, pool, b.dialect, repository.WithCache(c), quiet()),
				repository.PollEvery(10*time.Millisecond))
			eventually(t, "no row is open", func() bool { return number(t, pool, openRows) == 0 })
			if isCached(t, c, key) || relay.Figures().SetAside > 0 {
				t.Errorf("after values of %d bytes it is cached: %v, %+v", size, isCached(t, c, key), relay.Figures())
			}
		}
	})
}
