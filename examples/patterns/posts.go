// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package patterns has the code of docs/how-to/patterns.md: ways to read and to change what is
// cached, each on its own.
package patterns

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/cache"
)

// Post is what the service of this page is about.
type Post struct{ ID, Author, Title string }

// Source is the database of the service.
type Source interface {
	// Post returns an error that is cache.ErrNotFound if there is no such post.
	Post(ctx context.Context, id string) (Post, error)
	Posts(ctx context.Context, ids []string) (map[string]Post, error)
	ByAuthor(ctx context.Context, author string, page int) ([]Post, error)
	Drafts(ctx context.Context, user string) ([]Post, error)
	Rate(ctx context.Context, currency string) (rate float64, validFor time.Duration, err error)
	Save(ctx context.Context, post Post) error
	Import(ctx context.Context, posts []Post) error
}

// Cache is what the service uses of a cache.Client, so that its tests can use a cachetest.Fake.
type Cache interface {
	cache.Cache
	cache.ManyFetcher
	cache.Holder
}

// Service reads posts through the cache, and changes them.
type Service struct {
	cache  Cache
	source Source
}

// New returns a service over a cache and a database.
func New(c Cache, source Source) *Service { return &Service{cache: c, source: source} }
