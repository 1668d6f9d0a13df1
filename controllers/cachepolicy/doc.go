// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cachepolicy reconciles CachePolicies: it puts them in force in their stores, shows their
// statistics, and withdraws them.
package cachepolicy
