// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !nomany

package main

import (
	"context"
	"fmt"

	"github.com/cachewright/cachewright/cache"
)

// fetchedTogether is how many entries one call of FetchMany reads.
const fetchedTogether = 100

// manyReads measures how many entries a second FetchMany reads, beside Fetch.
func (b *bench) manyReads(ctx context.Context, l *lab) error {
	subjects, err := subjectsOf(ctx, l, b.scale, []reader{{"hit-fetch", readCache()}})
	if err != nil {
		return err
	}
	many, err := readManyEntries(ctx, l, b.scale)
	if err != nil {
		return err
	}
	return b.without("hit-fetch", func() error {
		return b.throughput(ctx, l, append(subjects, many),
			func(r *result, of *figures, all map[string]*figures) {
				r.RatioToHitFetch = hundredths(ratio(of, all["hit-fetch"]))
			})
	})
}

// readManyEntries reads as an application does that shows a page of entries.
func readManyEntries(ctx context.Context, l *lab, s scale) (*subject, error) {
	c, err := filledCache(ctx, l, s)
	if err != nil {
		return nil, err
	}
	pages := make([][]string, s.keys)
	for i := range pages {
		for k := range min(fetchedTogether, s.keys) {
			pages[i] = append(pages[i], id((i+k)%s.keys))
		}
	}
	return &subject{
		name: fmt.Sprint("fetch-many-", fetchedTogether), entries: len(pages[0]),
		do: func(ctx context.Context, n int) error {
			_, err := cache.FetchMany(ctx, c, pages[n%len(pages)], cacheKey,
				func(context.Context, []string) (map[string][]byte, error) { return nil, errMiss })
			return err
		},
	}, nil
}

func deleteMany(ctx context.Context, c *cache.Client, keys ...cache.Key) error {
	return c.DeleteMany(ctx, keys...)
}
