// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/cachewright/cachewright/cache"
)

// xCache is the header that says where an answer came from: HIT, NEAR_HIT, STALE, MISS, BYPASS,
// HELD or ERROR.
const xCache = "X-Cache"

// answerHeaders is the key of the headers of the answer in the context of its request.
type answerHeaders struct{}

// showingCache makes an outcome's header part of the answer.
func showingCache(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), answerHeaders{}, w.Header())))
	})
}

// headerObserver is a cache.Observer that writes the outcome of a read into the answer. It sees
// nothing else.
type headerObserver struct{}

// StartRequest implements cache.Observer. The function that it returns is called before Fetch
// returns, on the goroutine of the request.
func (headerObserver) StartRequest(
	ctx context.Context, _ cache.Request,
) (context.Context, func(cache.Outcome, error)) {
	return ctx, func(outcome cache.Outcome, _ error) {
		if headers, ok := ctx.Value(answerHeaders{}).(http.Header); ok {
			headers.Set(xCache, strings.ToUpper(string(outcome)))
		}
	}
}

func (headerObserver) Watch(string, func() cache.Figures) func() { return func() {} }

func (headerObserver) StartLoad(
	ctx context.Context, _, _ string,
) (context.Context, func(error)) {
	return ctx, func(error) {}
}

func (headerObserver) StartInvalidation(
	ctx context.Context, _ cache.Invalidation,
) (context.Context, func(error)) {
	return ctx, func(error) {}
}

func (headerObserver) Filled(context.Context, string, string, cache.Fill) {}

func (headerObserver) Audited(context.Context, string, string, cache.AuditResult) {}
