// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// The user that docs/operations.md creates for the operator in Redis.
const redisUser, redisPassword = "cachewright", "secret"

// newRedis returns a Redis with the user of the operator, its host and its port.
func newRedis(t *testing.T) (server *redistest.Server, host, port string) {
	t.Helper()
	server = redistest.Start(t)
	server.ApplyACL(redistest.ACLOf(t, "../../docs/operations.md", redisUser))
	host, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return server, host, port
}

// The operator works as the chart installs it, in each mode: its own command line, environment and
// rights suffice until a purge is complete.
func TestAPurgeCompletesInEachMode(t *testing.T) {
	t.Run("all namespaces, Redis by values", func(t *testing.T) {
		p := newCluster(t)
		redis, host, port := newRedis(t)
		system, shop := p.namespace(t, "system"), p.namespace(t, "shop")
		p.helm(t, "install", name, chartPath, "-n", system, "-f",
			write(t, "redis: {host: %q, port: %s, username: %s, password: %s}", host, port, redisUser, redisPassword))
		p.startPod(t, system, p.podSpec(t, system))
		p.wantPurge(t, redis, shop, nil)
	})
	t.Run("all namespaces, Redis by a Secret", func(t *testing.T) {
		p := newCluster(t)
		redis, host, port := newRedis(t)
		system, shop := p.namespace(t, "system"), p.namespace(t, "shop")
		p.create(t, secretOf(system, "mine", map[string]string{"REDIS_HOST": host, "REDIS_PORT": port, "REDIS_USERNAME": redisUser}))
		p.create(t, secretOf(system, "auth", map[string]string{"redis-password": redisPassword}))
		p.helm(t, "install", "prod", chartPath, "-n", system, "--set",
			"redis.existingSecret=mine,redis.passwordSecret.name=auth,redis.passwordSecret.key=redis-password")
		p.startPod(t, system, p.podSpec(t, system))
		p.wantPurge(t, redis, shop, nil)
	})
	t.Run("some namespaces", func(t *testing.T) {
		p := newCluster(t)
		redis, host, port := newRedis(t)
		system, shop, stranger := p.namespace(t, "system"), p.namespace(t, "shop"), p.namespace(t, "stranger")
		p.helm(t, "install", name, chartPath, "-n", system, "-f",
			write(t, "{watchNamespaces: [%s, %s], metrics: {enabled: false}, redis: {url: 'redis://%s:%s@%s:%s'}}", system, shop, redisUser, redisPassword, host, port))
		untouched := policyOf(stranger, nil)
		p.create(t, untouched)
		p.startPod(t, system, p.podSpec(t, system))
		p.wantPurge(t, redis, shop, nil)
		p.wantPurge(t, redis, system, nil)
		p.get(t, untouched)
		if len(untouched.Finalizers) > 0 || len(untouched.Status.Conditions) > 0 {
			t.Errorf("it touched a policy of a namespace that is not its own: %+v", untouched)
		}
	})
	t.Run("stores alone", func(t *testing.T) {
		p := newCluster(t)
		redis, _, _ := newRedis(t)
		system, shop := p.namespace(t, "system"), p.namespace(t, "shop")
		p.create(t, secretOf(shop, "redis-auth", map[string]string{"username": redisUser, "password": redisPassword}))
		p.helm(t, "install", name, chartPath, "-n", system, "--set", "redis.enabled=false")
		p.helm(t, "upgrade", name, chartPath, "-n", system, "--reset-then-reuse-values", "-f",
			write(t, "cacheStores: [{name: main, namespace: %s, spec: {addresses: [%q], credentialsSecretRef: {name: redis-auth}}}]", shop, redis.Addr()))
		p.startPod(t, system, p.podSpec(t, system))
		p.wantPurge(t, redis, shop, &v1.StoreReference{Name: "main"})
	})
}

func secretOf(namespace, name string, data map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}
}

func policyOf(namespace string, store *v1.StoreReference) *v1.CachePolicy {
	return &v1.CachePolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "users"},
		Spec: v1.CachePolicySpec{
			Module: "users", StoreRef: store,
			Operations: []v1.OperationPolicy{{Name: "list", TTL: metav1.Duration{Duration: time.Hour}}},
		},
	}
}

func purgeOf(namespace, name string, store *v1.StoreReference) *v1.CacheInvalidation {
	return &v1.CacheInvalidation{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1.CacheInvalidationSpec{StoreRef: store, Targets: []v1.InvalidationTarget{{Module: "users"}}},
	}
}

// wantPurge creates a policy, fills an entry as an application does, and purges it.
func (p *plane) wantPurge(t *testing.T, redis *redistest.Server, namespace string, store *v1.StoreReference) {
	t.Helper()
	g := gomega.NewWithT(t)
	g.SetDefaultEventuallyTimeout(timeout)
	policy, purge := policyOf(namespace, store), purgeOf(namespace, "purge", store)
	p.create(t, policy)
	g.Eventually(p.isReady).WithArguments(t.Context(), policy).Should(gomega.BeTrue(), "the policy")
	fetch(t, redis, namespace, "users", "a list")
	p.create(t, purge)
	g.Eventually(p.isComplete).WithArguments(t.Context(), purge).Should(gomega.BeTrue(), "the purge")
	if purge.Status.KeysInvalidated == nil || *purge.Status.KeysInvalidated != 1 {
		t.Errorf("the purge covered %v entries, want one", purge.Status.KeysInvalidated)
	}
}

// fetch returns what the cache has for a module, or what is loaded, as an application gets it.
func fetch(t *testing.T, redis *redistest.Server, namespace, module, loaded string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"REDIS_HOST": host, "REDIS_PORT": port}
	connection, err := registry.ClientFromEnv(func(name string) (string, bool) {
		value, found := env[name]
		return value, found
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	entries, err := cache.New(connection, namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = entries.Close(context.WithoutCancel(t.Context())) }()
	load := func(context.Context) (string, error) { return loaded, nil }
	got, err := cache.Fetch(t.Context(), entries, cache.Key{Module: module, Operation: "list"}, load)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (p *plane) isReady(ctx context.Context, policy *v1.CachePolicy) (bool, error) {
	err := p.Get(ctx, client.ObjectKeyFromObject(policy), policy)
	return meta.IsStatusConditionTrue(policy.Status.Conditions, v1.ConditionReady), err
}

func (p *plane) isComplete(ctx context.Context, purge *v1.CacheInvalidation) (bool, error) {
	err := p.Get(ctx, client.ObjectKeyFromObject(purge), purge)
	return meta.IsStatusConditionTrue(purge.Status.Conditions, v1.ConditionComplete), err
}
