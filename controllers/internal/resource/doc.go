// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package resource reads and writes the operator's resources. It knows which store they refer to,
// which policy governs, and when an invalidation expires.
package resource
