// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// The operator keeps CachePolicy resources in force in Redis and carries out CacheInvalidation
// resources. See --help.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers"
	"github.com/cachewright/cachewright/registry"
)

// gcPercent makes the garbage collector keep less memory in reserve than by default. The operator
// rests most of the time, so what it holds of ten thousand policies determines its memory.
const gcPercent = 50

func main() {
	err := run(ctrl.SetupSignalHandler(), os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "cachewright operator:", err)
		os.Exit(1)
	}
}

// run runs the operator until the context ends.
func run(
	ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer,
) error {
	s, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	if s.version {
		fmt.Fprintln(stdout, versionText())
		return nil
	}
	surviveHandlers()
	if _, chosen := env("GOGC"); !chosen {
		debug.SetGCPercent(gcPercent)
	}
	log := zap.New(zap.UseFlagOptions(&s.log), zap.WriteTo(stderr))
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("kubernetes"))
	if s.releaseFinalizers {
		return releaseFinalizers(ctx, s, log)
	}

	mgr, err := newManager(ctx, s, log)
	if err != nil {
		return err
	}
	cluster, err := clusterID(ctx, mgr.GetAPIReader(), s, log)
	if err != nil {
		return err
	}
	redis.SetLogger(clientLog{log.WithName("redis")})
	check, err := registry.NewDialCheck(s.allowedAddresses)
	if err != nil {
		return err
	}
	options := controllers.Options{
		DialCheck:                check,
		Cluster:                  cluster,
		StoreCheckInterval:       s.storeCheckInterval,
		StatsInterval:            s.statsInterval,
		InvalidationHistoryLimit: s.historyLimit,
		Registerer:               metrics.Registry,
	}
	if s.defaultStore {
		store, address, closeStore, err := openStore(env)
		if err != nil {
			return err
		}
		defer closeStore()
		options.Store, options.StoreAddress, options.OnDataLoss = store, address, v1.DataLossPolicy(
			s.onDataLoss)
	}
	if err := setUp(mgr, options); err != nil {
		return err
	}
	log.Info("Starting", "version", versionText(),
		"redis", cmp.Or(options.StoreAddress, "CacheStores only"))
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running: %w", err)
	}
	return nil
}

// surviveHandlers lets the process survive a panic of an event handler: the handler loses the
// object and logs that. The contents of one namespace must not stop the operator for all.
func surviveHandlers() { utilruntime.ReallyCrash = false }

// connect returns how to reach the API server, and the kinds to exchange with it.
func connect() (*rest.Config, *runtime.Scheme, error) {
	cfg, err := config.GetConfig()
	if err != nil {
		return nil, nil,
			fmt.Errorf(
				"no access to Kubernetes: %w; check --kubeconfig, KUBECONFIG or the pod's service account", err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1.AddToScheme(scheme)); err != nil {
		return nil, nil, fmt.Errorf("building the scheme: %w", err)
	}
	return cfg, scheme, nil
}

func newManager(ctx context.Context, s settings, log logr.Logger) (manager.Manager, error) {
	cfg, scheme, err := connect()
	if err != nil {
		return nil, err
	}
	gate, err := newGate(cfg, client.Options{Scheme: scheme}, s, log)
	if err != nil {
		return nil, err
	}
	open, err := gate.open(ctx)
	if err != nil {
		return nil, err
	}
	mgr, err := manager.New(cfg, manager.Options{
		Scheme: scheme,
		Logger: log,
		Cache:  cacheOptions(open),
		// Reconcilers compare the desired status with the one they wrote last.
		Client: client.Options{
			Cache: &client.CacheOptions{EnableReadYourWritesConsistency: new(true)},
		},
		Metrics:                       metricsOptions(s),
		HealthProbeBindAddress:        s.probeAddress,
		LeaderElection:                s.leaderElect,
		LeaseDuration:                 new(leaseDuration),
		LeaderElectionID:              leaderElectionID,
		LeaderElectionNamespace:       s.leaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true, // the process ends right after Start returns
	})
	if err != nil {
		return nil, fmt.Errorf("setting up against the API server at %s: %w", cfg.Host, err)
	}
	if err := wantCRDs(mgr.GetRESTMapper(), cfg.Host); err != nil {
		return nil, err
	}
	if err := mgr.Add(gate); err != nil {
		return nil, fmt.Errorf("adding the checks of namespaces: %w", err)
	}
	return mgr, nil
}

// cacheOptions makes the manager read the given namespaces only. No namespace means all.
func cacheOptions(watched namespaces) cache.Options {
	o := cache.Options{DefaultTransform: strip, NewInformer: newInformer}
	if len(watched) > 0 {
		o.DefaultNamespaces = make(map[string]cache.Config, len(watched))
		for _, namespace := range watched {
			o.DefaultNamespaces[namespace] = cache.Config{}
		}
	}
	return o
}

// strip drops the largest parts of an object that the operator never reads: managed fields, and the
// copy that kubectl keeps of the object.
func strip(cached any) (any, error) {
	object, err := meta.Accessor(cached)
	if err != nil {
		return cached, nil //nolint:nilerr // no object: nothing to strip
	}
	object.SetManagedFields(nil)
	annotations := object.GetAnnotations()
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	object.SetAnnotations(annotations)
	return cached, nil
}

// wantCRDs fails if the API server is unreachable, or does not know our resources. The cache would
// only wait for them.
func wantCRDs(mapper meta.RESTMapper, host string) error {
	for _, kind := range []string{"CachePolicy", "CacheInvalidation", "CacheStore"} {
		gvk := v1.GroupVersion.WithKind(kind)
		_, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		switch {
		case meta.IsNoMatchError(err):
			return fmt.Errorf("the API server at %s does not know %s of %s: install the CRDs first, "+
				"for example with: kubectl apply --server-side -k config/crd", host, kind, v1.GroupVersion)
		case err != nil:
			return fmt.Errorf("asking the API server at %s for its resources: %w", host, err)
		}
	}
	return nil
}

func metricsOptions(s settings) metricsserver.Options {
	o := metricsserver.Options{
		BindAddress: s.metricsAddress, SecureServing: s.metricsSecure, CertDir: s.metricsCertDir,
	}
	if s.metricsSecure {
		o.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	if !s.http2 {
		// Off: a scraper does not need HTTP/2, and attackers have used its stream resets.
		o.TLSOpts = append(o.TLSOpts, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })
	}
	return o
}

func setUp(mgr manager.Manager, options controllers.Options) error {
	// Without any check, as without a default store, the paths of the probes would not be served.
	err := errors.Join(
		mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("ping", healthz.Ping))
	if err != nil {
		return fmt.Errorf("adding the health checks: %w", err)
	}
	return controllers.Setup(mgr, options)
}
