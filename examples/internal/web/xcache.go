// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"net/http"
	"strings"

	"github.com/cachewright/cachewright/cache"
)

// XCache is the header that says where an answer came from: HIT, NEAR_HIT, STALE, MISS, BYPASS,
// HELD or ERROR.
const XCache = "X-Cache"

// answerHeaders is the key of the headers of the answer in the context of its request.
type answerHeaders struct{}

// showingCache lets a HeaderObserver reach the answers of a handler.
func showingCache(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), answerHeaders{}, w.Header())))
	})
}

// HeaderObserver is a cache.Observer that writes the outcome of a read into the answer. It sees
// nothing else.
type HeaderObserver struct{}

// StartRequest implements cache.Observer. The function that it returns is called before Fetch
// returns, on the goroutine of the request.
func (HeaderObserver) StartRequest(
	ctx context.Context, _ cache.Request,
) (context.Context, func(cache.Outcome, error)) {
	return ctx, func(outcome cache.Outcome, _ error) {
		if headers, ok := ctx.Value(answerHeaders{}).(http.Header); ok {
			headers.Set(XCache, strings.ToUpper(string(outcome)))
		}
	}
}

// Watch implements cache.Observer.
func (HeaderObserver) Watch(string, func() cache.Figures) func() { return func() {} }

// StartLoad implements cache.Observer.
func (HeaderObserver) StartLoad(
	ctx context.Context, _, _ string,
) (context.Context, func(error)) {
	return ctx, func(error) {}
}

// StartInvalidation implements cache.Observer.
func (HeaderObserver) StartInvalidation(
	ctx context.Context, _ cache.Invalidation,
) (context.Context, func(error)) {
	return ctx, func(error) {}
}

// Filled implements cache.Observer.
func (HeaderObserver) Filled(context.Context, string, string, cache.Fill) {}

// Audited implements cache.Observer.
func (HeaderObserver) Audited(context.Context, string, string, cache.AuditResult) {}
