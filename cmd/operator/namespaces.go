// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/contain"
)

// accessChecks is the number of checks of Redis between two checks of access: a minute, by default.
const accessChecks = 12

// gate finds out which of the namespaces in --watch-namespaces grant the operator access. A cache
// waits for all of its namespaces, so one without its Role would block all others from the next
// start on. The gate leaves it out until it grants access.
type gate struct {
	reader     client.Reader
	log        logr.Logger
	interval   time.Duration
	accessible *prometheus.GaugeVec

	watched namespaces
	shut    namespaces // since the start
	refused map[string]bool
}

// errUnchecked: a check of access panicked.
var errUnchecked = errors.New("access could not be checked")

func newGate(cfg *rest.Config, options client.Options, s settings, log logr.Logger) (*gate, error) {
	reader, err := client.New(cfg, options)
	if err != nil {
		return nil, fmt.Errorf("setting up against the API server at %s: %w", cfg.Host, err)
	}
	g := &gate{
		reader: reader, log: log.WithName("namespaces"), interval: accessChecks * s.storeCheckInterval,
		accessible: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cachewright_namespace_accessible",
			Help: "1 if a namespace in --watch-namespaces lets the operator read its resources, else 0: " +
				"the operator does not manage it.",
		}, []string{"namespace"}),
		watched: s.watchNamespaces, refused: map[string]bool{},
	}
	if err := metrics.Registry.Register(g.accessible); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return g, nil
}

// open returns the namespaces that grant access. It fails if none does.
func (g *gate) open(ctx context.Context) (namespaces, error) {
	var opened namespaces
	var last error
	for _, namespace := range g.watched {
		if err := g.check(ctx, namespace); err != nil {
			last = err
			g.shut = append(g.shut, namespace)
		} else {
			opened = append(opened, namespace)
		}
	}
	if len(g.watched) > 0 && len(opened) == 0 {
		return nil,
			fmt.Errorf(
				"no namespace in --watch-namespaces grants the operator access, apply "+
					"config/watched-namespace there: %w", last)
	}
	return opened, nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: each replica has its own cache.
func (g *gate) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it checks the namespaces until the context ends. It fails when
// a namespace grants access that did not at the start: a cache accepts no further namespaces, so
// the process must restart.
func (g *gate) Start(ctx context.Context) error {
	ticker := time.NewTicker(g.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for _, namespace := range g.watched {
			if g.check(ctx, namespace) == nil && ctx.Err() == nil && slices.Contains(g.shut, namespace) {
				return fmt.Errorf(
					"namespace %s grants the operator access now: restart the operator to manage it", namespace)
			}
		}
	}
}

// check returns why a namespace does not grant access, and logs when that changes. Any other error
// is no reason to leave the namespace out.
func (g *gate) check(ctx context.Context, namespace string) (err error) {
	defer contain.Panic(&err, errUnchecked)
	err = g.read(ctx, namespace)
	switch refused := err != nil; {
	case refused == g.refused[namespace]:
	case refused:
		g.log.Error(err, "No access to a watched namespace", "namespace", namespace,
			"remedy", "apply config/watched-namespace there, or remove it from --watch-namespaces")
	default:
		g.log.Info("Access to a watched namespace granted again", "namespace", namespace)
	}
	g.refused[namespace] = err != nil
	value := 1.0
	if err != nil {
		value = 0
	}
	g.accessible.WithLabelValues(namespace).Set(value)
	return err
}

func (g *gate) read(ctx context.Context, namespace string) error {
	for _, kind := range []client.ObjectList{
		&v1.CachePolicyList{}, &v1.CacheInvalidationList{}, &v1.CacheStoreList{},
	} {
		if err := g.reader.List(ctx, kind, client.InNamespace(namespace),
			client.Limit(1)); apierrors.IsForbidden(err) {
			return err
		}
	}
	return nil
}
