// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package chart has the tests of the Helm chart in charts/cachewright, by the library and the
// commands of Helm. It is a module of its own, so that nobody else depends on Helm. Package
// generate writes what the chart takes from config/ and docs/.
package chart
