// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

const (
	purgesNamespace = "purges"
	purgesModule    = "items"
	entriesOfUser   = 3
	// creators is the number of goroutines that create a burst.
	creators = 16
)

// bench measures and collects rows.
type bench struct {
	scale scale
	lab   *lab
	rows  []row
}

// contestant completes invalidations: the operator, or the reference.
type contestant struct {
	client client.WithWatch
	// prepare caches something for the purge to delete.
	prepare func(ctx context.Context, purge int) error
}

func (b *bench) contestants(ctx context.Context) (operator, reference contestant, err error) {
	l := b.lab
	if err := l.createNamespace(ctx, purgesNamespace); err != nil {
		return operator, reference, err
	}
	if err := l.k8s.Create(ctx, policyFor(purgesNamespace, purgesModule)); err != nil {
		return operator, reference, err
	}
	if err := l.inForce(ctx, purgesNamespace, purgesModule); err != nil {
		return operator, reference, err
	}
	operator = contestant{client: l.k8s, prepare: l.fillUser}
	reference = contestant{
		client: l.reference, prepare: func(context.Context, int) error { return nil },
	}
	return operator, reference, nil
}

// inForce waits until Redis has a policy.
func (l *lab) inForce(ctx context.Context, namespace, module string) error {
	slots := []registry.Slot{{Namespace: namespace, Module: module}}
	return eventually(ctx, "policy "+module+" in force", 20*time.Millisecond, func() (bool, error) {
		hashes, err := l.own().PolicyHashes(ctx, slots)
		return err == nil && hashes[0] != "", err
	})
}

func userOf(purge int) string { return fmt.Sprintf("user-%d", purge) }

// fillUser caches the entries that a purge will delete.
func (l *lab) fillUser(ctx context.Context, purge int) error {
	key := registry.Key{
		Slot: registry.Slot{Namespace: purgesNamespace, Module: purgesModule}, Operation: "getById",
		User: userOf(purge), ID: "0",
	}
	lookup, err := l.own().Lease(ctx, key)
	if err != nil {
		return err
	}
	for i := range entriesOfUser {
		key.ID = fmt.Sprint(i)
		if _, err := l.own().Set(ctx, key, []byte("payload"), lookup.Token); err != nil {
			return err
		}
	}
	return nil
}

func purgeOf(n int) *v1.CacheInvalidation {
	return &v1.CacheInvalidation{
		ObjectMeta: metav1.ObjectMeta{Namespace: purgesNamespace, Name: fmt.Sprintf("purge-%d", n)},
		Spec: v1.CacheInvalidationSpec{
			Targets: []v1.InvalidationTarget{{Module: purgesModule, UserID: userOf(n)}},
		},
	}
}

// latency times purges as a watch sees them, from create to Complete. The contestants take turns.
func (b *bench) latency(ctx context.Context) error {
	operator, reference, err := b.contestants(ctx)
	if err != nil {
		return err
	}
	var latencies [2][]time.Duration
	for i, c := range []contestant{operator, reference} { // warm-up
		if _, err := c.completeOne(ctx, i); err != nil {
			return err
		}
	}
	for n := range b.scale.latencies {
		for i, c := range []contestant{operator, reference} {
			took, err := c.completeOne(ctx, n)
			if err != nil {
				return err
			}
			latencies[i] = append(latencies[i], took)
		}
	}
	ours, theirs := latencies[0], latencies[1]
	b.rows = append(
		b.rows,
		row{
			Name:             "invalidation-latency",
			RatioToReference: hundredths(float64(median(ours)) / float64(median(theirs))),
			P50Millis:        millis(median(ours)), P99Millis: millis(percentile(ours, 99)),
		},
		row{
			Name: "reference-latency", P50Millis: millis(median(theirs)),
			P99Millis: millis(percentile(theirs, 99)),
		},
	)
	return b.purged(ctx)
}

// purged checks that the purges deleted what they reported.
func (b *bench) purged(ctx context.Context) error {
	stats, err := b.lab.own().Stats(ctx,
		registry.Slot{Namespace: purgesNamespace, Module: purgesModule})
	if err == nil && stats.Keys > 0 {
		return fmt.Errorf("%d entries are left that were reported as purged", stats.Keys)
	}
	return err
}

// completeOne returns how long one purge took, and deletes it.
func (c contestant) completeOne(ctx context.Context, n int) (time.Duration, error) {
	if err := c.prepare(ctx, n); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	completed, err := c.watch(ctx)
	if err != nil {
		return 0, err
	}
	purge := purgeOf(n)
	began := time.Now()
	if err := c.client.Create(ctx, purge); err != nil {
		return 0, err
	}
	if err := completed.wait(ctx, 1); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, c.client.Delete(ctx, purge)
}

// completions collects the purges that a watch saw become Complete.
type completions struct {
	client client.WithWatch
	events watch.Interface
	names  map[string]bool
}

// watch starts a watch for purges.
func (c contestant) watch(ctx context.Context) (*completions, error) {
	completed := &completions{client: c.client, names: map[string]bool{}}
	err := completed.begin(ctx)
	return completed, err
}

// begin watches from the present state.
func (c *completions) begin(ctx context.Context) (err error) {
	if c.events, err = c.client.Watch(ctx, &v1.CacheInvalidationList{},
		client.InNamespace(purgesNamespace)); err != nil {
		return err
	}
	context.AfterFunc(ctx, c.events.Stop)
	return nil
}

// wait waits for a number of purges. The API server ends the watch of a client that cannot keep up,
// so wait may start another.
func (c *completions) wait(ctx context.Context, count int) error {
	for len(c.names) < count {
		event, open := <-c.events.ResultChan()
		if !open {
			if err := c.begin(ctx); err != nil {
				return fmt.Errorf("%d of %d purges completed: %w", len(c.names), count, err)
			}
			continue
		}
		purge, ok := event.Object.(*v1.CacheInvalidation)
		if !ok {
			return fmt.Errorf("watching purges: %v", event.Object)
		}
		if event.Type != watch.Deleted && purge.Status.State == v1.StateComplete {
			c.names[purge.Name] = true
		}
	}
	c.events.Stop()
	return nil
}

// throughput times bursts, from the first create until the last purge is seen to be Complete.
func (b *bench) throughput(ctx context.Context) error {
	l := b.lab
	contestants := []contestant{
		{client: l.k8s, prepare: l.fillUser},
		{client: l.reference, prepare: func(context.Context, int) error { return nil }},
	}
	var perSecond [2][]float64
	var ratios []float64
	for round := range b.scale.bursts {
		for turn := range contestants {
			i := (round + turn) % len(contestants)
			took, err := contestants[i].completeBurst(ctx, b.scale.burst)
			if err != nil {
				return err
			}
			perSecond[i] = append(perSecond[i], float64(b.scale.burst)/took.Seconds())
		}
		ratios = append(ratios, perSecond[0][round]/perSecond[1][round])
	}
	b.rows = append(
		b.rows,
		row{
			Name: "invalidation-throughput", RatioToReference: hundredths(median(ratios)),
			OpsPerSec: tenths(median(perSecond[0])),
		},
		row{Name: "reference-throughput", OpsPerSec: tenths(median(perSecond[1]))},
	)
	return b.purged(ctx)
}

func (c contestant) completeBurst(ctx context.Context, count int) (time.Duration, error) {
	if err := spread(count, func(n int) error { return c.prepare(ctx, n) }); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	completed, err := c.watch(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	created := make(chan error, 1)
	go func() {
		created <- spread(count, func(n int) error { return c.client.Create(ctx, purgeOf(n)) })
	}()
	if err := completed.wait(ctx, count); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if err := <-created; err != nil {
		return 0, err
	}
	return took, c.client.DeleteAllOf(ctx, &v1.CacheInvalidation{},
		client.InNamespace(purgesNamespace))
}

func median[T float64 | time.Duration](values []T) T { return percentile(values, 50) }

func percentile[T float64 | time.Duration](values []T, percent int) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}
