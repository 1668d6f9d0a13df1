// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stores connects the operator to Redis. A Monitor watches each store, and reconcilers open
// a store through the Manager.
package stores
