// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/cachewright/cachewright/repository"
)

// maxPage bounds the pages that may be asked for.
const maxPage = 1000

// routesOf are the routes of the service. ready says whether the database answers.
func routesOf(s *store, ready http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /readyz", ready)
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		user, err := s.byID(r.Context(), r.PathValue("id"))
		answer(w, user, err)
	})
	mux.HandleFunc("GET /users", func(w http.ResponseWriter, r *http.Request) {
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		users, err := s.page(r.Context(), min(max(0, page), maxPage))
		answer(w, users, err)
	})
	mux.HandleFunc("PUT /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		err := s.rename(r.Context(), r.PathValue("id"), r.URL.Query().Get("name"))
		answer(w, struct{}{}, err)
	})
	return mux
}

// answer says what an error of package repository means to the caller. Others are in the log alone.
func answer(w http.ResponseWriter, value any, err error) {
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(value); err != nil {
			slog.Warn("Could not write an answer", "error", err)
		}
	case errors.Is(err, repository.ErrNotFound):
		http.Error(w, "there is no such user", http.StatusNotFound)
	case errors.Is(err, repository.ErrConstraint):
		http.Error(w, "the name is taken, or not allowed", http.StatusConflict)
	case errors.Is(err, repository.ErrConflict):
		http.Error(w, "others change the same, try again", http.StatusServiceUnavailable)
	default:
		slog.Error("A request failed", "error", err)
		http.Error(w, "the database failed", http.StatusInternalServerError)
	}
}
