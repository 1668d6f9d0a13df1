// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cachestore reconciles CacheStores: their monitors follow the resources, and their status
// shows what the monitors found.
package cachestore
