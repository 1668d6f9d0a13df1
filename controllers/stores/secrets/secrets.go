// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package secrets reads the Secrets that a CacheStore names.
package secrets

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// Keys of the Secrets that a CacheStore names.
const (
	usernameKey    = "username"
	passwordKey    = "password"
	authoritiesKey = "ca.crt"
	certificateKey = corev1.TLSCertKey
	privateKeyKey  = corev1.TLSPrivateKeyKey
)

// Reader reads Secrets of a namespace, and notes which versions it read.
type Reader struct {
	// Live reads from the API server.
	Live      client.Reader
	Namespace string
	// Versions of the Secrets that were read.
	Versions []string
}

// read returns the data of a Secret. It must have all the keys.
func (r *Reader) read(
	ctx context.Context, ref *v1.SecretReference, keys ...string,
) (map[string][]byte, error) {
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: ref.Name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("%w: there is no Secret %s in namespace %s", status.ErrStoreSecret,
			ref.Name, r.Namespace)
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("%w: the operator may not read Secret %s of namespace %s: check its roles",
			status.ErrStoreSecret, ref.Name, r.Namespace)
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s of namespace %s: %w", ref.Name, r.Namespace, err)
	}
	for _, key := range keys {
		if len(secret.Data[key]) == 0 {
			return nil, fmt.Errorf("%w: Secret %s has no key %s", status.ErrStoreSecret, ref.Name, key)
		}
	}
	r.Versions = append(r.Versions, string(secret.UID)+"/"+secret.ResourceVersion)
	return secret.Data, nil
}

// ConnectionOf reads the Secrets that a CacheStore names and says how to connect to it.
// status.ErrStoreSecret: one of them is missing or cannot be used.
func ConnectionOf(
	ctx context.Context, spec *v1.CacheStoreSpec, secrets *Reader,
) (registry.Connection, error) {
	c := registry.Connection{
		MasterName: spec.MasterName, Cluster: spec.Mode == v1.StoreCluster, DB: int(spec.DB),
	}
	for _, address := range spec.Addresses {
		c.Addresses = append(c.Addresses, string(address))
	}
	var err error
	c.Username, c.Password, err = credentialsOf(ctx, spec.CredentialsSecretRef, secrets)
	if err != nil {
		return c, err
	}
	c.SentinelUsername, c.SentinelPassword, err = credentialsOf(ctx, spec.SentinelCredentialsSecretRef,
		secrets)
	if err != nil {
		return c, err
	}
	c.TLS, err = tlsOf(ctx, spec.TLS, secrets)
	return c, err
}

func credentialsOf(
	ctx context.Context, ref *v1.SecretReference, secrets *Reader,
) (username, password string, err error) {
	if ref == nil {
		return "", "", nil
	}
	data, err := secrets.read(ctx, ref, passwordKey)
	return trimNewline(data[usernameKey]), trimNewline(data[passwordKey]), err
}

// trimNewline drops the end of the line that editors put into a file, and kubectl into a Secret.
func trimNewline(text []byte) string { return strings.TrimRight(string(text), "\r\n") }

func tlsOf(ctx context.Context, spec *v1.StoreTLS, secrets *Reader) (*tls.Config, error) {
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
		own, err = secrets.read(ctx, spec.ClientCertificateSecretRef, certificateKey, privateKeyKey)
		if err != nil {
			return nil, err
		}
	}
	config, err := registry.NewTLS(authorities[authoritiesKey], own[certificateKey],
		own[privateKeyKey], spec.ServerName)
	if err != nil {
		return nil, fmt.Errorf("%w: of spec.tls, %w", status.ErrStoreSecret, err)
	}
	return config, nil
}
