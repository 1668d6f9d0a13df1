// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllertest has what the tests of several controllers share: fakes of stores and of
// the API server's cache, resources, and the rules of kstatus.
package controllertest
