// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package shipped holds tests of the source of everything that is shipped: rules that no compiler
// checks.
package shipped
