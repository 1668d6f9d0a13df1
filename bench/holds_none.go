// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build noholds

package main

import "context"

// holds adds no rows: the packages are older than holds.
func (*bench) holds(context.Context, *lab) error { return nil }

func servedHolds(context.Context, *lab, scale) ([]measurement, error) { return nil, nil }
