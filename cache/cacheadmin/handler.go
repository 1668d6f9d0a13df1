// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cachewright/cachewright/cache"
)

const (
	// answerTimeout is how long the cache may take for one request.
	answerTimeout = 10 * time.Second
	// maxBodyBytes is enough for a form with the longest names, percent-encoded.
	maxBodyBytes = 4 << 10
)

// Cache is what the endpoints need of a cache. Every cache.Cache has it.
type Cache interface {
	InvalidateModule(ctx context.Context, module string) error
	InvalidateOperation(ctx context.Context, module, operation string) error
	InvalidateUser(ctx context.Context, user string, modules ...string) error
	InvalidateSoftly(ctx context.Context, scope cache.Scope) error
	TTL(ctx context.Context, module, operation string) (time.Duration, error)
	Stats(ctx context.Context, modules ...string) ([]cache.ModuleStats, error)
}

var _ Cache = cache.Cache(nil)

// Handler serves the endpoints. Make one with New. It is safe for concurrent use.
type Handler struct {
	cache Cache
	sites *http.CrossOriginProtection
	mux   *http.ServeMux
}

// Option changes how a Handler works.
type Option func(*Handler) error

// WithTrustedOrigin allows purges from the pages of an origin, for example
// "https://admin.example.com". Pages of other origins are refused, so a proxy that changes the host
// of requests needs this option. New returns an error if it is not an origin.
func WithTrustedOrigin(origin string) Option {
	return func(h *Handler) error { return h.sites.AddTrustedOrigin(origin) }
}

// New returns the endpoints of a cache. Strip the prefix below which they are, and put your
// authentication before them: see the documentation of the package.
func New(c Cache, opts ...Option) (*Handler, error) {
	if c == nil {
		return nil, errors.New("cacheadmin: the cache is nil; give New your cache.Cache")
	}
	h := &Handler{cache: c, sites: http.NewCrossOriginProtection(), mux: http.NewServeMux()}
	for _, option := range opts {
		if err := option(h); err != nil {
			return nil, fmt.Errorf("cacheadmin: WithTrustedOrigin: %w", err)
		}
	}
	h.route("/{$}", methods{http.MethodGet: h.page})
	h.route("/style.css", methods{http.MethodGet: h.style})
	h.route("/stats", methods{http.MethodGet: h.stats})
	h.route("/module/{module}", methods{
		http.MethodGet: h.module, http.MethodDelete: h.purge, http.MethodPost: h.purge,
	})
	h.route("/module/{module}/operation/{operation}", methods{
		http.MethodGet: h.operation, http.MethodDelete: h.purge, http.MethodPost: h.purge,
	})
	h.route("/module/{module}/user/{user}", methods{http.MethodDelete: h.purge})
	h.route("/user/{user}", methods{http.MethodDelete: h.purge})
	h.route("/user", methods{http.MethodPost: h.purge})
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fail(w, r, noSuchEndpoint) })
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	if r.URL.Path == "" && redirectToPage(w, r) {
		return
	}
	// The ServeMux would redirect to the path without its prefix.
	if at := r.URL.EscapedPath(); at != path.Clean("/"+at) {
		fail(w, r, noSuchEndpoint)
		return
	}
	if h.sites.Check(r) != nil {
		fail(w, r, foreignSite)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
	h.mux.ServeHTTP(w, r)
}

// protect sets headers for all answers. The policy for referrers is the strictest with which
// browsers name the origin of a form, which shows that it is ours.
func protect(headers http.Header) {
	for name, value := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; " +
			"frame-ancestors 'none'; base-uri 'none'",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "same-origin",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-store",
	} {
		headers.Set(name, value)
	}
}

// redirectToPage adds the slash that the links of the page need, for a request of the prefix alone.
func redirectToPage(w http.ResponseWriter, r *http.Request) bool {
	asked, _, _ := strings.Cut(r.RequestURI, "?")
	last := path.Base(asked)
	if !strings.HasSuffix(asked, "/"+last) {
		return false
	}
	w.Header().Set("Location", "./"+last+"/")
	w.WriteHeader(http.StatusPermanentRedirect)
	return true
}

// methods are those that a path has.
type methods map[string]http.HandlerFunc

// route serves a path. Its answers about methods are like all others, which those of the
// ServeMux are not.
func (h *Handler) route(pattern string, serving methods) {
	var allowed []string
	for method := range serving {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		serve, ok := serving[method]
		if !ok {
			w.Header().Set("Allow", allow)
			fail(w, r, noSuchMethod)
			return
		}
		serve(w, r)
	})
}
