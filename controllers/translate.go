// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// This file is the only place where words of the API become words of the registry, and back.

func slotOf(policy *v1.CachePolicy) registry.Slot {
	return registry.Slot{Namespace: policy.Namespace, Module: policy.Spec.Module}
}

// storeOf names the store that a policy refers to.
func storeOf(policy *v1.CachePolicy) storeID {
	return storeIDOf(policy.Namespace, policy.Spec.StoreRef)
}

func policyOf(spec *v1.CachePolicySpec) registry.Policy {
	policy := registry.Policy{Revision: spec.Revision}
	if spec.DefaultTTL != nil {
		policy.DefaultTTL = &spec.DefaultTTL.Duration
	}
	for _, operation := range spec.Operations {
		policy.Operations = append(policy.Operations, operationOf(operation))
	}
	// The order in a manifest means nothing, so it must not change the hash either.
	slices.SortFunc(policy.Operations, func(a, b registry.OperationPolicy) int { return cmp.Compare(a.Name, b.Name) })
	return policy
}

func operationOf(operation v1.OperationPolicy) registry.OperationPolicy {
	o := registry.OperationPolicy{
		Name:          operation.Name,
		TTL:           operation.TTL.Duration,
		JitterPercent: int(operation.JitterPercent),
	}
	if operation.Scope == v1.ScopeUser {
		o.Scope = registry.ScopeUser
	}
	if operation.StaleFor != nil {
		o.StaleFor = operation.StaleFor.Duration
	}
	if operation.NegativeTTL != nil {
		o.NegativeTTL = operation.NegativeTTL.Duration
	}
	if operation.LocalTTL != nil {
		o.LocalTTL = &operation.LocalTTL.Duration
	}
	if operation.MaxEntryBytes != nil {
		o.MaxEntryBytes = *operation.MaxEntryBytes
	}
	return o
}

func scopeOf(target v1.InvalidationTarget) registry.Scope {
	return registry.Scope{Operation: target.Operation, User: target.UserID}
}

func modeOf(spec v1.CacheInvalidationSpec) registry.Mode {
	switch {
	case spec.DryRun:
		return registry.ModeDry
	case spec.Mode == v1.ModeSoft:
		return registry.ModeSoft
	default:
		return registry.ModeHard
	}
}

// maxOperationsInStatus is what the API allows.
const maxOperationsInStatus = 256

// statsOf is a snapshot for status.
func statsOf(stats registry.Stats, now time.Time) *v1.CacheStats {
	snapshot := &v1.CacheStats{
		ObservedTime: metav1.NewTime(now),
		Keys:         stats.Keys,
		MemoryBytes:  stats.MemoryBytes,
		PendingKeys:  stats.Pending,
	}
	for _, operation := range stats.Operations {
		snapshot.Hits += operation.Hits
		snapshot.StaleHits += operation.Stale
		snapshot.Misses += operation.Misses
	}
	snapshot.HitRatio = hitRatio(snapshot.Hits+snapshot.StaleHits, snapshot.Misses)
	for _, name := range busiest(stats.Operations, maxOperationsInStatus) {
		operation := stats.Operations[name]
		snapshot.Operations = append(snapshot.Operations, v1.OperationStats{
			Name:          name,
			Keys:          operation.Keys,
			Hits:          operation.Hits,
			StaleHits:     operation.Stale,
			Misses:        operation.Misses,
			Fills:         operation.Fills,
			FencedFills:   operation.Fenced,
			Invalidations: operation.Invalidations,
			HitRatio:      hitRatio(operation.Hits+operation.Stale, operation.Misses),
		})
	}
	return snapshot
}

func hitRatio(hits, misses int64) string {
	if hits+misses == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f%%", 100*float64(hits)/float64(hits+misses))
}

// busiest returns the names of the operations that are read most, at most so many, by name.
// Applications may call operations by any bytes; neither JSON nor Prometheus can hold names that
// are not text, so those are left out.
func busiest(operations map[string]registry.OperationStats, limit int) []string {
	var names []string
	for name := range operations {
		if utf8.ValidString(name) {
			names = append(names, name)
		}
	}
	reads := func(name string) int64 {
		return operations[name].Hits + operations[name].Stale + operations[name].Misses
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(reads(b), reads(a)), cmp.Compare(a, b))
	})
	names = names[:min(limit, len(names))]
	slices.Sort(names)
	return names
}

// dangers are the reasons of AtRisk.
var dangers = map[registry.WarningKind]string{
	registry.WarnNotPrimary:       v1.ReasonNotPrimary,
	registry.WarnMemoryFull:       v1.ReasonMemoryFull,
	registry.WarnReplicaLags:      v1.ReasonReplicaLags,
	registry.WarnLossUnseen:       v1.ReasonLossUnseen,
	registry.WarnRestoresOldState: v1.ReasonRestoresOldState,
}

// Keys of the Secrets that a CacheStore names.
const (
	usernameKey    = "username"
	passwordKey    = "password"
	authoritiesKey = "ca.crt"
	certificateKey = corev1.TLSCertKey
	privateKeyKey  = corev1.TLSPrivateKeyKey
)

// connectionOf reads the Secrets that a CacheStore names and says how to connect to it. errStoreSecret:
// one of them is missing or cannot be used.
func connectionOf(ctx context.Context, spec *v1.CacheStoreSpec, secrets *secretReader) (registry.Connection, error) {
	connection := registry.Connection{
		MasterName: spec.MasterName, Cluster: spec.Mode == v1.StoreCluster, DB: int(spec.DB),
	}
	for _, address := range spec.Addresses {
		connection.Addresses = append(connection.Addresses, string(address))
	}
	var err error
	if connection.Username, connection.Password, err = credentialsOf(ctx, spec.CredentialsSecretRef, secrets); err != nil {
		return connection, err
	}
	connection.SentinelUsername, connection.SentinelPassword, err = credentialsOf(ctx, spec.SentinelCredentialsSecretRef, secrets)
	if err != nil {
		return connection, err
	}
	connection.TLS, err = tlsOf(ctx, spec.TLS, secrets)
	return connection, err
}

func credentialsOf(ctx context.Context, ref *v1.SecretReference, secrets *secretReader) (username, password string, err error) {
	if ref == nil {
		return "", "", nil
	}
	data, err := secrets.read(ctx, ref, passwordKey)
	return line(data[usernameKey]), line(data[passwordKey]), err
}

// line drops the end of the line that editors put into a file, and kubectl with it into a Secret.
func line(text []byte) string { return strings.TrimRight(string(text), "\r\n") }

func tlsOf(ctx context.Context, spec *v1.StoreTLS, secrets *secretReader) (*tls.Config, error) {
	if spec == nil {
		return nil, nil
	}
	var authorities, own map[string][]byte
	var err error
	if spec.CASecretRef != nil {
		if authorities, err = secrets.read(ctx, spec.CASecretRef, authoritiesKey); err != nil {
			return nil, err
		}
	}
	if spec.ClientCertificateSecretRef != nil {
		if own, err = secrets.read(ctx, spec.ClientCertificateSecretRef, certificateKey, privateKeyKey); err != nil {
			return nil, err
		}
	}
	config, err := registry.NewTLS(authorities[authoritiesKey], own[certificateKey], own[privateKeyKey], spec.ServerName)
	if err != nil {
		return nil, fmt.Errorf("%w: of spec.tls, %w", errStoreSecret, err)
	}
	return config, nil
}
