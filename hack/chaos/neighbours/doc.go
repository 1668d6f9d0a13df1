// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package neighbours gives the operator hostile stores of one namespace: they misbehave in all
// known ways, or hang. It times purges and policy changes of another namespace, alone and beside
// these stores.
//
// The environment sets the scale:
//
//   - CHAOS_STORES: how many stores misbehave at a time
//   - CHAOS_TURNS: in how many of their calls, one after the other
//   - CHAOS_HANGING: how many stores hang
//   - CHAOS_SAMPLES: how many purges and policy changes are timed, alone and again beside the
//     stores
package neighbours
