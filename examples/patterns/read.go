// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package patterns

import (
	"context"

	"github.com/cachewright/cachewright/cache"
)

func postKey(id string) cache.Key {
	return cache.Key{Module: "posts", Operation: "getById", Params: id}
}

// Post reads one entry.
func (s *Service) Post(ctx context.Context, id string) (Post, error) {
	return cache.Fetch(ctx, s.cache, postKey(id), func(ctx context.Context) (Post, error) {
		return s.source.Post(ctx, id)
	})
}

// Posts reads many entries.
func (s *Service) Posts(ctx context.Context, ids []string) (map[string]Post, error) {
	return cache.FetchMany(ctx, s.cache, ids, postKey, s.source.Posts)
}

type listParams struct {
	Author string
	Page   int
}

// ByAuthor reads a page of a list.
func (s *Service) ByAuthor(ctx context.Context, author string, page int) ([]Post, error) {
	key := cache.Key{Module: "posts", Operation: "list", Params: listParams{author, page}}
	return cache.Fetch(ctx, s.cache, key, func(ctx context.Context) ([]Post, error) {
		return s.source.ByAuthor(ctx, author, page)
	})
}

// Drafts reads what belongs to one user.
func (s *Service) Drafts(ctx context.Context, user string) ([]Post, error) {
	key := cache.Key{Module: "posts", Operation: "drafts", User: user}
	return cache.Fetch(ctx, s.cache, key, func(ctx context.Context) ([]Post, error) {
		return s.source.Drafts(ctx, user)
	})
}

// Rate reads what says itself for how long it is valid.
func (s *Service) Rate(ctx context.Context, currency string) (float64, error) {
	key := cache.Key{Module: "rates", Operation: "get", Params: currency}
	return cache.Fetch(ctx, s.cache, key, func(ctx context.Context) (float64, error) {
		rate, validFor, err := s.source.Rate(ctx, currency)
		cache.LimitTTL(ctx, validFor)
		return rate, err
	})
}
