// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers sets up the operator's controllers: the reconcilers of CachePolicies,
// CacheInvalidations and CacheStores, and a monitor of each store.
//
// Who wakes whom (→), and who writes what (⇒):
//
//	API server ──changes──→ cachepolicy ⇒ status and finalizer of CachePolicies
//	    │                   cacheinvalidation ⇒ status of CacheInvalidations
//	    │                   cachestore ⇒ status and finalizer of CacheStores
//	    │                       │    ↑
//	    │          opens a store│    │wakes: queue.Enqueuer
//	    │                       ↓    │
//	    │                   stores.Manager: a stores.Monitor for each store
//	    │                       │  every few seconds, or when a reconcile met an error of the store
//	    │                       ├─ prober: connects, checks, installs the function library
//	    │                       │     → all resources of a store that went, came back or was replaced
//	    │                       ├─ recovery.Fencer: after a loss of data
//	    │                       │     ⇒ fences in Redis, or repeats what recovery.Journal knows
//	    │                       ├─ drift.Syncer: compares policies
//	    │                       │     → the policies that are not in place
//	    │                       └─ stats.Collector: reads statistics
//	    │                             ⇒ stats.Snapshot → the policies whose status shows old ones
//	    │
//	    └──changes──→ recovery.Journal, metrics.Metrics (informers)
//
// Reconcilers write policies and invalidations into Redis through a stores.Session. They note each
// invalidation in the journal before they call Redis, and read statistics from the snapshot. A
// session reports errors of the store to the monitor. The monitor then probes the store, and wakes
// all that was turned away meanwhile. Prometheus reads metrics.Metrics, which reads the snapshot.
//
// Each reconciler is a list of steps that gather findings. Pure functions turn the findings into a
// status, and status.Finish writes it, records events and tells the queue when to come back.
// status.Classify classifies each error once. What is due waits for its turn in package queue:
// stores take turns, and in each store namespaces do. A panic over one store is an error of that
// store alone.
//
// Imports only point down, and the linter checks it: controllers → kinds → stores → recovery →
// internal. The packages of kinds never import each other.
package controllers

// The operator reads policies and patches their status and finalizers; it never changes a spec.
// +kubebuilder:rbac:groups=cachewright.io,resources=cachepolicies,verbs=list;watch;patch
// +kubebuilder:rbac:groups=cachewright.io,resources=cachepolicies/status,verbs=patch
// +kubebuilder:rbac:groups=cachewright.io,resources=cacheinvalidations,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=cachewright.io,resources=cacheinvalidations/status,verbs=update
// +kubebuilder:rbac:groups=cachewright.io,resources=cachestores,verbs=list;watch;patch
// +kubebuilder:rbac:groups=cachewright.io,resources=cachestores/status,verbs=patch
// Secrets are read live, by name, when a CacheStore names them; never listed, watched or kept.
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
