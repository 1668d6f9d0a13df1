// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package status says how resources are: conditions, events, messages, and errors with what to do
// about them. Finish ends every reconcile.
package status
