// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"context"
	"net/http"

	"github.com/cachewright/cachewright/cache"
)

// statistics is the answer of /stats.
type statistics struct {
	Modules []moduleStats `json:"modules"`
}

type moduleStats struct {
	Module     string           `json:"module"`
	Keys       int64            `json:"keys"`
	HitRatio   float64          `json:"hitRatio"` // from 0 to 1
	Operations []operationStats `json:"operations"`
}

type operationStats struct {
	Operation   string  `json:"operation"`
	TTLSeconds  float64 `json:"ttlSeconds"` // 0: not cached
	HeldSeconds float64 `json:"heldSeconds"`
	Keys        int64   `json:"keys"`
	HitRatio    float64 `json:"hitRatio"`
	Hits        int64   `json:"hits"`
	Stale       int64   `json:"stale"`
	Misses      int64   `json:"misses"`
	HeldReads   int64   `json:"heldReads"`
	Errors      int64   `json:"errors"`
}

// ttlAnswer is that of an operation.
type ttlAnswer struct {
	Module     string  `json:"module"`
	Operation  string  `json:"operation"`
	TTLSeconds float64 `json:"ttlSeconds"`
}

func (h *Handler) stats(w http.ResponseWriter, r *http.Request) {
	modules, err := modulesOf(r)
	if err != nil {
		fail(w, r, err)
		return
	}
	found, err := h.read(r, modules...)
	if err != nil {
		fail(w, r, err)
		return
	}
	answer := statistics{Modules: make([]moduleStats, 0, len(found))}
	for _, module := range found {
		answer.Modules = append(answer.Modules, statsOf(module))
	}
	writeJSON(w, http.StatusOK, answer)
}

func (h *Handler) module(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("module")
	if !isModule(name) {
		fail(w, r, badModule)
		return
	}
	found, err := h.read(r, name)
	if err != nil || len(found) != 1 {
		fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, statsOf(found[0]))
}

// operation answers with a TTL.
func (h *Handler) operation(w http.ResponseWriter, r *http.Request) {
	t := target{Scope: cache.Scope{Module: r.PathValue("module"), Operation: r.PathValue("operation")}}
	if err := t.check(false); err != nil {
		fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
	defer cancel()
	ttl, err := h.cache.TTL(ctx, t.Module, t.Operation)
	if err != nil {
		fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK,
		ttlAnswer{Module: t.Module, Operation: t.Operation, TTLSeconds: ttl.Seconds()})
}

// read reads the statistics of modules, or of all if none is named.
func (h *Handler) read(r *http.Request, modules ...string) ([]cache.ModuleStats, error) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
	defer cancel()
	return h.cache.Stats(ctx, modules...)
}

func statsOf(m cache.ModuleStats) moduleStats {
	module := moduleStats{
		Module: m.Module, Keys: m.Keys, HitRatio: m.HitRatio(),
		Operations: make([]operationStats, 0, len(m.Operations)),
	}
	for _, o := range m.Operations {
		module.Operations = append(module.Operations, operationStats{
			Operation: o.Operation, TTLSeconds: o.TTL.Seconds(), HeldSeconds: o.Held.Seconds(),
			Keys: o.Keys, HitRatio: o.HitRatio(), Hits: o.Hits, Stale: o.Stale, Misses: o.Misses,
			HeldReads: o.HeldReads, Errors: o.Errors,
		})
	}
	return module
}
