// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/operatortest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

const (
	poll = 20 * time.Millisecond
	// timeout limits each wait. It is long, because the machine may be busy.
	timeout = 3 * time.Minute
)

// eventually retries until there is no error.
func eventually(ctx context.Context, what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(err, ctx.Err()))
		case <-time.After(poll):
		}
	}
}

// world is an API server, the operator and a ledger of purges. Each test starts its own Redis.
type world struct {
	*ledger

	t           *testing.T
	environment *envtest.Environment
	kubeconfig  string
	redisAddr   string // of the operator's own Redis; empty: it has none
	redis       redis.UniversalClient
	application *application
	prepared    int
}

// newWorld starts what a test needs. Tests run in parallel.
func newWorld(t *testing.T, redisAddr string, applications redis.UniversalClient) *world {
	t.Helper()
	t.Parallel()
	w := &world{t: t, redisAddr: redisAddr, redis: applications, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	certificates := t.TempDir() // keeps the certificates over a restart
	var err error
	w.environment, err = kubetest.Start(func(e *envtest.Environment) {
		e.ControlPlane.GetAPIServer().CertDir = certificates
		e.ControlPlane.GetAPIServer().Configure().Set("request-timeout", "5s") // it ends no sooner
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.environment.Stop() })
	if err := os.WriteFile(w.kubeconfig, w.environment.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	config := rest.CopyConfig(w.environment.Config)
	config.QPS = -1
	k8s, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err := errors.Join(err, corev1.AddToScheme(scheme), v1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w.ledger = newLedger(k8s, registry.New(applications))
	return w
}

// clientOf returns a client with the settings that applications need. It disables notifications of
// maintenance, because concurrent connections of go-redis have a data race there.
func clientOf(t *testing.T, server *redistest.Server) *redis.Client {
	t.Helper()
	redisClient := redis.NewClient(&redis.Options{
		Addr: server.Addr(), ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = redisClient.Close() })
	return redisClient
}

// createNamespace creates a namespace and the store that its resources name.
func (w *world) createNamespace(name string) {
	w.t.Helper()
	w.must(w.k8s.Create(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	if w.store != nil {
		store := &v1.CacheStore{Spec: *w.store}
		store.Namespace, store.Name = name, storeName
		w.must(w.k8s.Create(w.t.Context(), store))
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// begin creates the policies, starts an application, and begins to follow the purges.
func (w *world) begin() {
	w.t.Helper()
	w.createNamespace(namespace)
	for n := range wholes {
		w.createNamespace(wholeNamespaceName(n))
	}
	for _, slot := range declared() {
		policy := &v1.CachePolicy{Spec: v1.CachePolicySpec{Module: slot.Module, DefaultTTL: &metav1.Duration{Duration: time.Hour}}}
		policy.Namespace, policy.Name = slot.Namespace, slot.Module
		policy.Spec.StoreRef = w.storeRef()
		w.must(w.k8s.Create(w.t.Context(), policy))
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.follow(ctx)
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	w.startApplication(w.redis)
}

// operate starts an operator.
func (w *world) operate(args ...string) *operatortest.Process {
	w.t.Helper()
	args = append([]string{
		"--kubeconfig=" + w.kubeconfig, "--metrics-bind-address=0", "--health-probe-bind-address=0", "--store-check-interval=1s",
	}, args...)
	var env []string
	if w.redisAddr == "" {
		args = append(args, "--default-store=false")
	} else {
		host, port, err := net.SplitHostPort(w.redisAddr)
		w.must(err)
		env = []string{"REDIS_HOST=" + host, "REDIS_PORT=" + port}
	}
	operator, err := operatortest.Start(binary, env, args...)
	w.must(err)
	w.t.Cleanup(func() {
		operator.Kill()
		if w.t.Failed() {
			const enough = 3000
			output := operator.Output()
			w.t.Logf("end of the log of operator %d:\n%s", operator.PID(), output[max(0, len(output)-enough):])
		}
	})
	return operator
}

// ask prepares and creates a number of purges. It also lets the application change its value.
func (w *world) ask(purges int) (asked []*purge) {
	w.t.Helper()
	for range purges {
		asked = append(asked, w.prepare(1)...)
		w.create(asked[len(asked)-1:])
	}
	w.application.change()
	return asked
}

// create creates prepared purges.
func (w *world) create(prepared []*purge) {
	w.t.Helper()
	for _, p := range prepared {
		w.must(w.ledger.create(w.t.Context(), p))
	}
}

// prepare fills the entries of a number of purges.
func (w *world) prepare(purges int) (prepared []*purge) {
	w.t.Helper()
	for range purges {
		w.prepared++
		p, err := w.ledger.prepare(w.t.Context(), w.prepared)
		w.must(err)
		prepared = append(prepared, p)
	}
	return prepared
}

// untilBegun waits until an operator works on one of the open purges, or until none is open.
func (w *world) untilBegun() {
	w.t.Helper()
	w.must(eventually(w.t.Context(), "begin of a purge", func(context.Context) error {
		if open, begun := w.unfinished(); open > 0 && begun == 0 {
			return errors.New("none has begun")
		}
		return nil
	}))
}

// check closes the ledger and reports its findings.
func (w *world) check() {
	w.t.Helper()
	w.must(w.close(w.t.Context()))
	w.application.end()
	for _, finding := range w.findings {
		w.t.Error(finding)
	}
	w.t.Logf("%d purges, %d reads of the application, %d findings", len(w.purges), w.application.reads.Load(), len(w.findings))
}
