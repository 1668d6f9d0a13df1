// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package convert turns words of the API into words of package registry, and back. It is the only
// place that knows both.
package convert
