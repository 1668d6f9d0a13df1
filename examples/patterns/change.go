// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package patterns

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/cache"
)

// Save changes one post.
func (s *Service) Save(ctx context.Context, post Post) error {
	if err := s.source.Save(ctx, post); err != nil {
		return err
	}
	return errors.Join(
		s.cache.Delete(ctx, postKey(post.ID)),
		s.cache.InvalidateOperation(ctx, "posts", "list"),
	)
}

// SavePatiently changes one post. Lists may show the former one while they are loaded again.
func (s *Service) SavePatiently(ctx context.Context, post Post) error {
	if err := s.source.Save(ctx, post); err != nil {
		return err
	}
	return errors.Join(
		s.cache.Delete(ctx, postKey(post.ID)),
		s.cache.InvalidateSoftly(ctx, cache.Scope{Module: "posts", Operation: "list"}),
	)
}

// SaveHeld changes one post. No read from Redis that begins after it is saved returns the former
// one, even if this process dies in between.
func (s *Service) SaveHeld(ctx context.Context, post Post) error {
	const ttl = 10 * time.Second
	list := cache.Scope{Module: "posts", Operation: "list"}
	hold, _ := s.cache.Hold(ctx, ttl, postKey(post.ID), list) // without one, Release invalidates
	ctx, cancel := context.WithTimeout(ctx, ttl/2)
	defer cancel()
	err := s.source.Save(ctx, post)
	return errors.Join(err, hold.Release(context.WithoutCancel(ctx)))
}

// Import changes many posts.
func (s *Service) Import(ctx context.Context, posts []Post) error {
	if err := s.source.Import(ctx, posts); err != nil {
		return err
	}
	return s.cache.InvalidateModule(ctx, "posts")
}

// Forget drops what is cached of a user, in all modules.
func (s *Service) Forget(ctx context.Context, user string) error {
	return s.cache.InvalidateUser(ctx, user)
}
