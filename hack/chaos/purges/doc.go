// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package purges has the tests that kill, freeze and cut off what carries out purges, while they are under way: the
// operator, the API server and Redis, as processes. The rules that every purge has to keep are with ledger. How often
// the operator is killed, CHAOS_KILLS says; CHAOS_HANDOVERS is for leaders that are held up, CHAOS_RESTARTS for the API
// server, CHAOS_DISTURBANCES for Redis.
package purges
