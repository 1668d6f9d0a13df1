// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build nolink

package main

import "context"

// fetchMissOverLink adds no rows: the packages are older than links.
func (*bench) fetchMissOverLink(context.Context, *lab) error { return nil }
