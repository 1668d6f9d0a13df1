// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// namespacesOf reads namespaces as a cluster has them, by name and UID.
type namespacesOf struct {
	client.Reader

	uids map[string]string
	err  error
}

func (n namespacesOf) Get(_ context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	uid, found := n.uids[key.Name]
	switch {
	case n.err != nil:
		return n.err
	case !found:
		return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, key.Name)
	}
	obj.(*corev1.Namespace).ObjectMeta = metav1.ObjectMeta{Name: key.Name, UID: types.UID(uid)}
	return nil
}

func TestTheClusterIsNamedByANamespaceThatTheOperatorMayRead(t *testing.T) {
	cluster := namespacesOf{uids: map[string]string{"kube-system": "uid-of-kube-system", "cachewright-system": "uid-of-own", "shop": "uid-of-shop"}}
	for name, test := range map[string]struct {
		settings settings
		want     string
	}{
		"all namespaces":           {settings{}, "uid-of-kube-system"},
		"some namespaces":          {settings{watchNamespaces: namespaces{"shop"}, leaderElectionNamespace: "cachewright-system"}, "uid-of-own"},
		"some, outside of the pod": {settings{watchNamespaces: namespaces{"shop"}}, "uid-of-shop"},
		"by the flag":              {settings{clusterID: "blue"}, "blue"},
	} {
		got, err := clusterID(t.Context(), cluster, test.settings, logr.Discard())
		if err != nil || got != test.want {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, test.want)
		}
	}
}

func TestWithoutPermissionNoPolicyIsClaimedAndTheLogSaysSo(t *testing.T) {
	said := ""
	log := funcr.New(func(_, args string) { said += args }, funcr.Options{})
	refused := namespacesOf{err: apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "kube-system", errors.New("no"))}
	got, err := clusterID(t.Context(), refused, settings{}, log)
	if got != "" || err != nil || said == "" {
		t.Errorf("got %q, %v, and the log %q", got, err, said)
	}
	if _, err := clusterID(t.Context(), namespacesOf{err: errors.New("timeout")}, settings{}, log); err == nil {
		t.Error("an API server that does not answer is taken for one that refuses: the identity would change with the weather")
	}
}

func TestAClusterIDHasTheFormOfALabel(t *testing.T) {
	for _, wrong := range []string{"a/b", "a b", "-a", "é"} {
		if _, err := parseFlags([]string{"--cluster-id=" + wrong}, io.Discard); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
	if s, err := parseFlags([]string{"--cluster-id=blue-1"}, io.Discard); err != nil || s.clusterID != "blue-1" {
		t.Errorf("got %q, %v", s.clusterID, err)
	}
}
