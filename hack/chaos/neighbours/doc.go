// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package neighbours lets the operator look after stores that misbehave in every way there is, in one namespace, and
// holds what it does for another namespace meanwhile against what it does there alone. CHAOS_STORES says how many stores
// misbehave at a time, CHAOS_TURNS in how many of their calls, one after the other, and CHAOS_SAMPLES how many purges and
// changes of policies are timed, each alone and beside them.
package neighbours
