// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package storetest provides one store for reconcilers under test.
package storetest
