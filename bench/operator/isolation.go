// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/cachewright/cachewright/internal/operatortest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/internal/redistest/hostile"
)

// isolation times purges and policy changes in one namespace, alone and then beside hostile stores
// of another namespace. The stores misbehave in every way that package hostile knows.
func (b *bench) isolation(ctx context.Context) error {
	l := b.lab
	tenant, err := operatortest.NewTenant(ctx, l.k8s, "neighbour", l.own().Registry)
	if err != nil {
		return err
	}
	if _, err := tenant.Measure(ctx, max(1, b.scale.neighbourly/10)); err != nil { // warm-up
		return err
	}
	alone, err := tenant.Measure(ctx, b.scale.neighbourly)
	if err != nil {
		return err
	}
	hostiles, err := operatortest.NewHostiles(ctx, l.k8s, "hostile")
	if err != nil {
		return err
	}
	defer hostiles.Close()
	if err := b.misbehave(ctx, hostiles); err != nil {
		return err
	}
	beside, err := tenant.Measure(ctx, b.scale.neighbourly)
	if err != nil {
		return err
	}
	purges, policies := operatortest.Percentile(beside.Invalidations,
		99), operatortest.Percentile(beside.Policies, 99)
	ratio := max(
		purges.Seconds()/operatortest.Percentile(alone.Invalidations, 99).Seconds(),
		policies.Seconds()/operatortest.Percentile(alone.Policies, 99).Seconds(),
	)
	b.rows = append(b.rows, row{
		Name: "isolation", RatioToAlone: hundredths(ratio), P99Millis: millis(max(purges, policies)),
		P50Millis: millis(max(operatortest.Percentile(beside.Invalidations, 50),
			operatortest.Percentile(beside.Policies, 50))),
		Count: new(hostiles.Count()),
	})
	return hostiles.Delete(ctx)
}

// misbehave adds hostile stores, which share a Redis that nothing else uses.
func (b *bench) misbehave(ctx context.Context, hostiles *operatortest.Hostiles) error {
	l := b.lab
	server, err := redistest.Run(ctx, filepath.Join(l.dir, "redis-hostile"), 0)
	if err != nil {
		return err
	}
	l.onClose(server.Kill)
	client := server.Client()
	defer func() { _ = client.Close() }()
	if err := client.Do(ctx, "ACL", "SETUSER", operatortest.HostileUser, "on",
		">"+operatortest.HostilePassword, "~*", "&*", "+@all").Err(); err != nil {
		return fmt.Errorf("making the user of hostile stores: %w", err)
	}
	calls, err := hostiles.Learn(ctx, server.Addr())
	if err != nil {
		return err
	}
	return hostiles.Add(ctx, server.Addr(), hostile.FaultsOf(calls), b.scale.hostiles)
}
