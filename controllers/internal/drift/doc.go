// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package drift finds policies that a store lacks or has otherwise than they are wanted.
package drift
