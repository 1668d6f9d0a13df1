// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package purges tests purges while their processes are disturbed. It kills, freezes and isolates
// the operator, the API server and Redis. See ledger for the rules that every purge must keep.
//
// The environment says how often each disturbance happens:
//
//   - CHAOS_KILLS: the operator is killed
//   - CHAOS_HANDOVERS: a leader is paused
//   - CHAOS_RESTARTS: the API server restarts
//   - CHAOS_DISTURBANCES: Redis is disturbed
package purges
