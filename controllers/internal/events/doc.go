// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package events records events at a bounded rate, so that no reconcile waits for the API server.
package events
