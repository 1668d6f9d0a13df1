// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package recovery keeps what an older state of a store brought back from being read. Fences
// invalidate modules once per incarnation of the data; a replay repeats invalidations from the
// journal instead.
package recovery
