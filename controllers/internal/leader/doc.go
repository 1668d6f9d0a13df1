// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package leader says what a leader may believe: its cache may lack what a former leader did last.
package leader
