// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metrics has the operator's Prometheus metrics.
package metrics
