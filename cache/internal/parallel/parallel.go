// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package parallel makes calls to Redis in parallel.
package parallel

import (
	"golang.org/x/sync/errgroup"

	"github.com/cachewright/cachewright/cache/internal/redact"
)

// maxCalls bounds the connections that the calls for one caller take.
const maxCalls = 8

// Each makes a call for each item, in parallel. It returns their errors in order. Where a call
// panics, such as in a hook of the application, the error says that the work was broken off.
func Each[T any](items []T, work string, call func(T) error) []error {
	failed := make([]error, len(items))
	var group errgroup.Group
	group.SetLimit(maxCalls)
	for n, item := range items {
		group.Go(func() error {
			defer func() { // there is no caller that could recover
				if value := recover(); value != nil {
					failed[n] = redact.Panic(work+" was broken off", value)
				}
			}()
			failed[n] = call(item)
			return nil
		})
	}
	_ = group.Wait() // the errors of all items are wanted, not only the first
	return failed
}
