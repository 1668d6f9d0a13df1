// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/redistest"
)

// plane is a control plane with an audit log of service accounts.
type plane struct {
	client.Client
	clients     kubernetes.Interface
	environment *envtest.Environment
	audit       string // path of the log
	kubeconfig  string // of the administrator
	root        string
}

var (
	sharedDir   string // for its files
	shared      *plane
	startShared = sync.OnceValues(func() (*plane, error) {
		var err error
		shared, err = startPlane(sharedDir)
		return shared, err
	})
)

func stopShared() {
	if shared != nil {
		_ = shared.environment.Stop()
	}
}

func startPlane(dir string) (*plane, error) {
	configure, log, err := audited(dir)
	if err != nil {
		return nil, err
	}
	environment, err := kubetest.Start(configure, kubetest.WithoutCRDs) // tests install them
	if err != nil {
		return nil, err
	}
	p := &plane{environment: environment, audit: log, kubeconfig: filepath.Join(dir, "admin")}
	all := scheme.Scheme
	var errRoot, errClient, errClients error
	p.root, errRoot = kubetest.ModuleRoot()
	err = errors.Join(errRoot, v1.AddToScheme(all), apiextensionsv1.AddToScheme(all),
		os.WriteFile(p.kubeconfig, environment.KubeConfig, 0o600))
	p.Client, errClient = client.New(environment.Config, client.Options{Scheme: all})
	p.clients, errClients = kubernetes.NewForConfig(environment.Config)
	if err := errors.Join(err, errClient, errClients); err != nil {
		return nil, errors.Join(err, environment.Stop())
	}
	return p, nil
}

// cluster is what a test uses: the control plane that all share, and a Redis of its own.
type cluster struct {
	*plane
	began time.Time
	redis *redistest.Server
}

// newCluster returns a cluster with nothing of ours: no CRDs, no permissions, no accounts, no
// Secrets, no leases.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	p, err := startShared()
	if err != nil {
		t.Fatal(err)
	}
	p.clear(t)
	c := &cluster{plane: p, began: time.Now(), redis: redistest.Start(t)}
	c.redis.ApplyACL(redistest.ACLOf(t, "../../docs/operations.md", redisUser))
	t.Cleanup(func() {
		if refused := c.redis.Refused(); len(refused) > 0 {
			t.Errorf("Redis refused: %s", refused)
		}
	})
	return c
}

// clear removes what an earlier test left, except for what is in namespaces that no other test uses.
func (p *plane) clear(t *testing.T) {
	t.Helper()
	for _, kind := range []client.ObjectList{&v1.CachePolicyList{}, &v1.CacheInvalidationList{}, &v1.CacheStoreList{}} {
		if err := p.List(t.Context(), kind); meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			continue // the CRD is gone
		} else if err != nil {
			t.Fatal(err)
		}
		p.each(t, kind, p.release)
	}
	p.remove(t, &apiextensionsv1.CustomResourceDefinitionList{})
	for _, kind := range []client.ObjectList{
		&rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{},
		&corev1.ServiceAccountList{}, &corev1.SecretList{}, &coordinationv1.LeaseList{},
	} {
		p.remove(t, kind)
	}
	p.finalize(t, account.Namespace)
}

// ofKubernetes says whether the API server made an object for itself.
func ofKubernetes(object client.Object) bool {
	return object.GetLabels()["kubernetes.io/bootstrapping"] != "" || slices.Contains([]string{metav1.NamespaceSystem, metav1.NamespacePublic}, object.GetNamespace())
}

// remove deletes all objects of a kind that are ours, and waits until they are gone.
func (p *plane) remove(t *testing.T, kind client.ObjectList) {
	t.Helper()
	gomega.NewWithT(t).Eventually(func() (left int, err error) {
		if err := p.List(t.Context(), kind); err != nil {
			return 0, err
		}
		return left, meta.EachListItem(kind, func(item runtime.Object) error {
			object := item.(client.Object)
			if ofKubernetes(object) {
				return nil
			}
			left++
			return client.IgnoreNotFound(p.Delete(t.Context(), object))
		})
	}, timeout).Should(gomega.BeZero(), fmt.Sprintf("%T", kind))
}

// each does something with each object of a list.
func (p *plane) each(t *testing.T, kind client.ObjectList, do func(*testing.T, client.Object) error) {
	t.Helper()
	err := meta.EachListItem(kind, func(item runtime.Object) error { return do(t, item.(client.Object)) })
	if err != nil {
		t.Fatal(err)
	}
}

// release lets an object be deleted though no operator runs.
func (p *plane) release(t *testing.T, object client.Object) error {
	t.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	return client.IgnoreNotFound(p.Patch(t.Context(), object, patch))
}

// finalize ends a namespace that is being deleted, as here is no controller that does.
func (p *plane) finalize(t *testing.T, name string) {
	t.Helper()
	namespace, err := p.clients.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
	if err == nil && namespace.DeletionTimestamp != nil {
		namespace.Spec.Finalizers = nil
		_, err = p.clients.CoreV1().Namespaces().Finalize(t.Context(), namespace, metav1.UpdateOptions{})
	}
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
}

// namespaces counts the namespaces, so that each is new.
var namespacesMade atomic.Int64

// namespace creates a namespace whose name begins with a word, and returns its name.
func (p *plane) namespace(t *testing.T, word string) string {
	t.Helper()
	name := fmt.Sprintf("%s-%d", word, namespacesMade.Add(1))
	if err := p.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		t.Fatal(err)
	}
	return name
}
