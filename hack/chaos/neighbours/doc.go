// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package neighbours lets the operator look after stores of one namespace that misbehave in every
// way there is, or hang, and compares what it does for another namespace meanwhile with what it does
// there alone. The environment says how much:
//
//   - CHAOS_STORES: how many stores misbehave at a time
//   - CHAOS_TURNS: in how many of their calls, one after the other
//   - CHAOS_HANGING: how many stores hang
//   - CHAOS_SAMPLES: how many purges and changes of policies are timed, each alone and beside them
package neighbours
