// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package source says how an application loads what it caches.
package source

import (
	"context"
	"errors"
)

// Load loads a value from the source of the application.
type Load = func(context.Context) (any, error)

// ErrNotFound is cache.ErrNotFound.
var ErrNotFound = errors.New("not found")

// Loaded is what the source has of one thing: a cache.Loaded.
type Loaded struct {
	Value any
	Err   error
}

// Many loads what a caller wants at these positions, and returns it in that order. What it leaves
// out at the end is not found.
type Many func(ctx context.Context, at []int) []Loaded

// One returns a Many for a caller that wants one thing.
func One(load Load) Many {
	return func(ctx context.Context, _ []int) []Loaded {
		value, err := load(ctx)
		return []Loaded{{Value: value, Err: err}}
	}
}

// At returns the Load of what is wanted at one position.
func (m Many) At(at int) Load {
	return func(ctx context.Context) (any, error) {
		loaded := m.Load(ctx, []int{at})
		return loaded[0].Value, loaded[0].Err
	}
}

// Load returns exactly one Loaded for each position.
func (m Many) Load(ctx context.Context, at []int) []Loaded {
	loaded := m(ctx, at)
	for len(loaded) < len(at) {
		loaded = append(loaded, Loaded{Err: ErrNotFound})
	}
	return loaded[:len(at)]
}
