// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

var (
	environment *envtest.Environment
	adminConfig *rest.Config
	scheme      = runtime.NewScheme()
	// k8s reads and writes the API server as its administrator, with no cache.
	k8s client.WithWatch
)

func TestControllers(t *testing.T) {
	if testing.Short() {
		t.Skip("needs an API server, which -short leaves out")
	}
	debug.SetGCPercent(400)       // spares a part of the work: the suite is short, and needs little memory
	log.SetLogger(logr.Discard()) // without one, controller-runtime prints a trace after half a minute
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(controllertest.Timeout)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	RunSpecs(t, "Controllers")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1.AddToScheme(scheme)).To(Succeed())
	var err error
	environment, err = kubetest.Start()
	Expect(err).NotTo(HaveOccurred())
	// A cleanup, so that watches are ended before: the API server would wait for them for a minute.
	DeferCleanup(func() error { return environment.Stop() })
	adminConfig = environment.Config
	adminConfig.QPS = -1
	k8s, err = client.NewWithWatch(adminConfig, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	collect(context.WithoutCancel(ctx), k8s)
})

// stage is what a spec uses: a namespace of its own, and a Redis of its own. Every change in the
// namespace is checked by the rules of kstatus.
type stage struct {
	namespace string
	seen      *observer
	server    *redistest.Server
	redis     *redis.Client
	// cache is what an application would use.
	cache *registry.Registry
}

func newStage(ctx context.Context, redisConfig ...string) *stage {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	s := &stage{namespace: namespace.Name, server: redistest.Start(GinkgoTB(), redisConfig...)}
	DeferCleanup(s.clear)
	s.redis = s.server.Client()
	s.cache = registry.New(s.redis)
	s.seen = observe(s.namespace)
	return s
}

// clear removes what a spec left, as operators of other specs may serve all namespaces.
func (s *stage) clear(ctx SpecContext) {
	inNamespace := client.InNamespace(s.namespace)
	release := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	for _, kind := range []client.ObjectList{&v1.CacheInvalidationList{}, &v1.CachePolicyList{}, &v1.CacheStoreList{}} {
		Expect(k8s.List(ctx, kind, inNamespace)).To(Succeed())
		Expect(meta.EachListItem(kind, func(item runtime.Object) error {
			left := item.(client.Object)
			return errors.Join(client.IgnoreNotFound(k8s.Delete(ctx, left)), client.IgnoreNotFound(k8s.Patch(ctx, left, release)))
		})).To(Succeed())
	}
}

// create creates an object in the stage's namespace.
func (s *stage) create(ctx context.Context, obj client.Object) {
	GinkgoHelper()
	obj.SetNamespace(s.namespace)
	Expect(k8s.Create(ctx, obj)).To(Succeed())
}

func (s *stage) slot(module string) registry.Slot {
	return registry.Slot{Namespace: s.namespace, Module: module}
}

// fill caches so many entries of an operation, and of a user unless that is empty.
func (s *stage) fill(ctx context.Context, module, operation, user string, entries int) {
	GinkgoHelper()
	key := registry.Key{Slot: s.slot(module), Operation: operation, User: user, ID: "lease"}
	lease, err := s.cache.Lease(ctx, key)
	Expect(err).NotTo(HaveOccurred())
	// A token is good for every entry that is covered by the same heads, so one will do.
	const batch = 1000
	for from := 0; from < entries; from += batch {
		replies, err := s.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i := from; i < min(from+batch, entries); i++ {
				pipe.FCall(ctx, "cw_set", []string{"cw:{" + s.slot(module).String() + "}"},
					operation, fmt.Sprintf("id-%d", i), user, "payload", []byte(lease.Token))
			}
			return nil
		})
		Expect(err).NotTo(HaveOccurred())
		for _, reply := range replies {
			Expect(reply.(*redis.Cmd).Int()).To(BeNumerically(">", 0), "the fill was not stored")
		}
	}
}

// cached counts how many of the entries that fill made can be read.
func (s *stage) cached(ctx context.Context, module, operation, user string, entries int) int {
	GinkgoHelper()
	hits := 0
	for i := range entries {
		key := registry.Key{Slot: s.slot(module), Operation: operation, User: user, ID: fmt.Sprintf("id-%d", i)}
		lookup, err := s.cache.Read(ctx, key)
		Expect(err).NotTo(HaveOccurred())
		if lookup.Hit {
			hits++
		}
	}
	return hits
}

// current reads an object live.
func current[T client.Object](ctx context.Context, obj T) T {
	GinkgoHelper()
	fresh := obj.DeepCopyObject().(T)
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(obj), fresh)).To(Succeed())
	return fresh
}

// change patches an object, whose status the operator may write at the same time: an update would
// then be refused.
func change[T client.Object](ctx context.Context, obj T, do func(T)) T {
	GinkgoHelper()
	changed := current(ctx, obj)
	patch := client.MergeFrom(changed.DeepCopyObject().(T))
	do(changed)
	Expect(k8s.Patch(ctx, changed, patch)).To(Succeed())
	return changed
}

// rawSpec reads a spec as it is stored, not as Go types read it.
func rawSpec(ctx context.Context, policy *v1.CachePolicy) map[string]any {
	GinkgoHelper()
	raw := &unstructured.Unstructured{}
	raw.SetGroupVersionKind(v1.GroupVersion.WithKind("CachePolicy"))
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(policy), raw)).To(Succeed())
	return raw.Object["spec"].(map[string]any)
}
