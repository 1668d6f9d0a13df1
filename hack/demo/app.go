// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// get requests a page and decodes it into out, unless that is nil.
func get(ctx context.Context, url string, out any, headers ...string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if err := statusError(response); err != nil || out == nil {
		return err
	}
	return json.NewDecoder(response.Body).Decode(out)
}

type user struct {
	ID string `json:"id"`
}

// readUser asks the application for a user and checks that it is the right one.
func (s *stage) readUser(ctx context.Context, id string) error {
	return s.read(ctx, "/users/"+id, id)
}

func (s *stage) readProfile(ctx context.Context, id string) error {
	return s.read(ctx, "/profile", id, "X-User", id)
}

func (s *stage) read(ctx context.Context, path, id string, headers ...string) error {
	var got user
	if err := get(ctx, s.appURL+path, &got, headers...); err != nil {
		return err
	}
	if got.ID != id {
		return fmt.Errorf("%s answers user %q, want %q", path, got.ID, id)
	}
	return nil
}

// queriesOf returns the number of queries to the source while do runs.
func (s *stage) queriesOf(ctx context.Context, do func() error) (int, error) {
	var before, after int
	if err := get(ctx, s.appURL+"/queries", &before); err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	err := get(ctx, s.appURL+"/queries", &after)
	return after - before, err
}

// wantQueries fails unless do causes exactly that many queries to the source.
func (s *stage) wantQueries(ctx context.Context, want int, what string, do func() error) error {
	got, err := s.queriesOf(ctx, do)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if got != want {
		return fmt.Errorf("%s: the source was asked %d times, want %d", what, got, want)
	}
	say("  ✓ %s: the source was asked %d times", what, got)
	return nil
}
