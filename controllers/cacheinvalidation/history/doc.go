// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package history bounds how many finished CacheInvalidations a namespace keeps.
package history
