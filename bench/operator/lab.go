// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/detached"
	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/operatortest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// store is a Redis server and its registry.
type store struct {
	address string
	redis   *redis.Client
	*registry.Registry
}

// lab holds the API server, the Redis servers, the operator and the reference.
type lab struct {
	dir        string
	kubeconfig string
	config     *rest.Config
	// stores holds the operator's own store first, then those that CacheStores declare.
	stores   []*store
	stats    time.Duration // the value of the operator's flag --stats-interval
	binary   string
	operator *operatortest.Process

	// k8s knows the operator's kinds, reference those of the reference controller.
	k8s, reference client.WithWatch
	closers        []func()
}

func newLab(ctx context.Context, s scale) (l *lab, err error) {
	l = &lab{stats: s.stats}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.dir, err = os.MkdirTemp("", "cachewright-bench-"); err != nil {
		return l, err
	}
	l.onClose(func() { _ = os.RemoveAll(l.dir) })
	if l.binary, err = operatortest.Build(ctx, l.dir); err != nil {
		return l, err
	}
	if err := errors.Join(l.startControlPlane(), l.startStores(ctx, 1+s.stores)); err != nil {
		return l, err
	}
	return l, errors.Join(l.startOperator(), l.startReference())
}

// close runs the cleanups, the last one first.
func (l *lab) close() {
	for i := len(l.closers) - 1; i >= 0; i-- {
		l.closers[i]()
	}
}

func (l *lab) onClose(fn func()) { l.closers = append(l.closers, fn) }

func (l *lab) startControlPlane() error {
	environment, err := kubetest.Start()
	if err != nil {
		return err
	}
	l.onClose(func() { _ = environment.Stop() })
	crd, err := referenceCRD(environment.CRDs)
	if err != nil {
		return err
	}
	options := envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{crd}}
	if _, err := envtest.InstallCRDs(environment.Config, options); err != nil {
		return err
	}
	l.kubeconfig = filepath.Join(l.dir, "kubeconfig")
	if err := os.WriteFile(l.kubeconfig, environment.KubeConfig, 0o600); err != nil {
		return err
	}
	l.config = rest.CopyConfig(environment.Config)
	l.config.QPS = -1
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1.AddToScheme(scheme)); err != nil {
		return err
	}
	if l.k8s, err = client.NewWithWatch(l.config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	l.reference, err = client.NewWithWatch(l.config, client.Options{Scheme: referenceScheme()})
	return err
}

func (l *lab) startStores(ctx context.Context, count int) error {
	for i := range count {
		server, err := redistest.Run(ctx, filepath.Join(l.dir, fmt.Sprint("redis-", i)), 0)
		if err != nil {
			return err
		}
		l.onClose(server.Kill)
		redisClient := server.Client()
		l.onClose(func() { _ = redisClient.Close() })
		l.stores = append(l.stores, &store{
			address: server.Addr(), redis: redisClient, Registry: registry.New(redisClient),
		})
	}
	return nil
}

// own returns the operator's own store.
func (l *lab) own() *store { return l.stores[0] }

// startOperator starts the operator with the flags of config/default, except those that need ports.
func (l *lab) startOperator() error {
	host, port, err := net.SplitHostPort(l.own().address)
	if err != nil {
		return err
	}
	l.operator, err = operatortest.Start(l.binary,
		[]string{"REDIS_HOST=" + host, "REDIS_PORT=" + port},
		"--kubeconfig="+l.kubeconfig, "--leader-elect", "--leader-election-namespace=default",
		"--metrics-bind-address=0", "--health-probe-bind-address=0", "--stats-interval="+l.stats.String())
	if err == nil {
		l.onClose(l.operator.Kill)
	}
	return err
}

// lastWords returns the end of the operator's log.
func (l *lab) lastWords() string {
	const enough = 4000
	output := l.operator.Output()
	return output[max(0, len(output)-enough):]
}

// startReference runs this program as the reference controller.
func (l *lab) startReference() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	reference := exec.Command(self, "-reference", l.kubeconfig)
	reference.Stderr = os.Stderr
	reference.SysProcAttr = detached.Attributes()
	if err := reference.Start(); err != nil {
		return err
	}
	l.onClose(func() {
		_ = reference.Process.Kill() // fails only when it has already ended
		_ = reference.Wait()
	})
	return nil
}

func (l *lab) createNamespace(ctx context.Context, name string) error {
	return l.k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

// ownStore names the store of each namespace that has one.
const ownStore = "main"

func (l *lab) createStore(ctx context.Context, namespace string, s *store) error {
	return l.k8s.Create(ctx, &v1.CacheStore{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: ownStore},
		Spec:       v1.CacheStoreSpec{Addresses: []v1.StoreAddress{v1.StoreAddress(s.address)}},
	})
}

// policyFor returns a policy of the kind that users write.
func policyFor(namespace, module string) *v1.CachePolicy {
	return &v1.CachePolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: module},
		Spec: v1.CachePolicySpec{
			Module: module,
			Operations: []v1.OperationPolicy{
				{Name: "getById", TTL: metav1.Duration{Duration: 5 * time.Minute}},
				{Name: "list", TTL: metav1.Duration{Duration: 3 * time.Minute}, JitterPercent: 10},
				{Name: "create"},
			},
		},
	}
}

// timeout limits each wait.
const timeout = 10 * time.Minute

// eventually polls until the answer is yes.
func eventually(
	ctx context.Context, what string, interval time.Duration, ask func() (bool, error),
) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if yes, err := ask(); yes || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %s", what, timeout)
		}
	}
}
