// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package queue decides what is reconciled next. Enqueuers carry what the operator found, and
// stores and namespaces take turns.
package queue
