// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package convert turns policies, targets and statistics of the API into those of package registry,
// and back.
package convert
