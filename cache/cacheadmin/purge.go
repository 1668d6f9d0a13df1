// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/cachewright/cachewright/cache"
)

// purge serves all purges. One that began goes on if its caller leaves.
func (h *Handler) purge(w http.ResponseWriter, r *http.Request) {
	t, err := targetOf(r)
	if err != nil {
		fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), answerTimeout)
	defer cancel()
	err = h.invalidate(ctx, t)
	switch {
	case errors.Is(err, cache.ErrQueued):
		done(w, r, queued)
	case err != nil:
		fail(w, r, err)
	case t.User == "" && h.isUnlisted(ctx, t):
		done(w, r, unlisted)
	case t.soft:
		done(w, r, softened)
	default:
		done(w, r, purged)
	}
}

func (h *Handler) invalidate(ctx context.Context, t target) error {
	switch {
	case t.soft:
		return h.cache.InvalidateSoftly(ctx, t.Scope)
	case t.User != "" && t.Module != "":
		return h.cache.InvalidateUser(ctx, t.User, t.Module)
	case t.User != "":
		return h.cache.InvalidateUser(ctx, t.User)
	case t.Operation != "":
		return h.cache.InvalidateOperation(ctx, t.Module, t.Operation)
	default:
		return h.cache.InvalidateModule(ctx, t.Module)
	}
}

// isUnlisted says whether nothing is cached under a name, which may have a typo then. Without an
// answer of the cache it is listed.
func (h *Handler) isUnlisted(ctx context.Context, t target) bool {
	found, err := h.cache.Stats(ctx, t.Module)
	if err != nil || len(found) != 1 {
		return false
	}
	listed := slices.ContainsFunc(found[0].Operations, func(o cache.OperationStats) bool {
		return t.Operation == "" || o.Operation == t.Operation
	})
	if listed {
		return false
	}
	operation := t.Operation
	if operation == "" {
		operation = "any" // has the default TTL of the policy
	}
	ttl, err := h.cache.TTL(ctx, t.Module, operation)
	return err == nil && ttl == 0
}
