// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cacheinvalidation reconciles CacheInvalidations: it carries each out once, frees the
// memory, and deletes what is too old.
package cacheinvalidation
