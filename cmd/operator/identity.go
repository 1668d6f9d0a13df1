// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ownNamespaceFile is the file in which Kubernetes writes the namespace of a pod.
const ownNamespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// clusterID returns the name of the cluster beside each policy in Redis: the flag, or the UID of a
// namespace. That namespace exists as long as the cluster or the installation. The name is empty if
// the operator may not read it. Then the operator claims no policy.
func clusterID(
	ctx context.Context, reader client.Reader, s settings, log logr.Logger,
) (string, error) {
	if s.clusterID != "" {
		return s.clusterID, nil
	}
	name := identifyingNamespace(s)
	namespace := &corev1.Namespace{}
	err := client.IgnoreNotFound(reader.Get(ctx, client.ObjectKey{Name: name}, namespace))
	if err != nil && !apierrors.IsForbidden(err) {
		return "", fmt.Errorf("reading namespace %s, whose UID names the cluster: %w", name, err)
	}
	if namespace.UID == "" {
		// Two clusters that share a Redis would undo each other's policies.
		log.Info("No cluster identity, claiming no policies", "namespace", name,
			"remedy", "let the operator get the namespace, or set --cluster-id")
	}
	return string(namespace.UID), nil
}

// identifyingNamespace returns kube-system, or for an operator with --watch-namespaces a namespace
// that it may read.
func identifyingNamespace(s settings) string {
	if len(s.watchNamespaces) == 0 {
		return metav1.NamespaceSystem
	}
	return cmp.Or(s.leaderElectionNamespace, ownNamespace(), s.watchNamespaces[0])
}

// ownNamespace returns the namespace of the pod, or nothing outside a cluster.
func ownNamespace() string {
	text, _ := os.ReadFile(ownNamespaceFile) // absent outside a cluster
	return strings.TrimSpace(string(text))
}
