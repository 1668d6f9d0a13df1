// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package dbtest tests package repository with real databases, drivers and Redis servers. It is a
// module of its own, so that applications do not depend on drivers.
package dbtest
