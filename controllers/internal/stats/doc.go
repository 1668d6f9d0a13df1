// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stats holds the statistics of modules as they were last read, and reads them.
package stats
