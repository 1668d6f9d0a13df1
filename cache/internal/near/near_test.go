// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package near

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
)

func TestNearCacheIsBounded(t *testing.T) {
	client := redis.NewClient(&redis.Options{ContextTimeoutEnabled: true})
	defer client.Close()
	for name, test := range map[string]struct {
		bounds Bounds
		bytes  int
		most   int
	}{
		"by entries": {Bounds{MaxEntries: 100, MaxBytes: 1 << 30, MaxAge: time.Hour}, 10, 100},
		"by bytes":   {Bounds{MaxEntries: 1 << 20, MaxBytes: 1 << 20, MaxAge: time.Hour}, 10_000, 1 << 20 / 10_000},
	} {
		c, err := New(Config{
			Bounds:     test.bounds,
			Client:     client,
			Generation: func() uint64 { return 1 },
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 * test.most {
			c.entries.Set(Key{params: i}, &Entry{bytes: test.bytes, until: time.Now().Add(time.Hour)})
		}
		NewWithT(t).Eventually(func() int {
			c.entries.CleanUp()
			return c.entries.EstimatedSize()
		}).WithTimeout(20*time.Second).Should(And(BeNumerically("<=", test.most), BeNumerically(">", test.most/2)), name)
		c.clear()
		NewWithT(t).Eventually(c.entries.EstimatedSize).WithTimeout(20 * time.Second).Should(BeZero())
	}
}
