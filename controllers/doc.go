// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers reconciles CachePolicy and CacheInvalidation with what is in Redis, and CacheStore with the
// connections to it.
//
// Each reconciler is a list of steps that gather findings; one deferred call turns the findings
// into status (pure functions, in the …_status.go files), patches it where it differs, and tells
// the queue when to come back. Errors are classified once, in faults.go. A Monitor watches each
// store for all of them: whether it answers, has the function library, and has every policy. Reconcilers
// open a store through Stores and never wait for it. What is due waits for its turn, in turns.go: stores take turns, and
// in each store namespaces do. A panic over one store is an error of that store alone, see containment.go.
package controllers

// The operator reads policies and patches their status and finalizers; it never changes a spec.
// +kubebuilder:rbac:groups=cachewright.io,resources=cachepolicies,verbs=list;watch;patch
// +kubebuilder:rbac:groups=cachewright.io,resources=cachepolicies/status,verbs=patch
// +kubebuilder:rbac:groups=cachewright.io,resources=cacheinvalidations,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=cachewright.io,resources=cacheinvalidations/status,verbs=update
// +kubebuilder:rbac:groups=cachewright.io,resources=cachestores,verbs=list;watch;patch
// +kubebuilder:rbac:groups=cachewright.io,resources=cachestores/status,verbs=patch
// Secrets are read live, by name, when a CacheStore names them; never listed, watched or kept.
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
