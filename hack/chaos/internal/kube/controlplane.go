// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/operatortest"
)

// ControlPlane is an API server with the CRDs of this repository. It can stop and start again.
type ControlPlane struct {
	*envtest.Environment
	// Client connects as administrator, and limits no rates.
	Client client.WithWatch

	kubeconfig string
}

var (
	startShared = sync.OnceValues(func() (*ControlPlane, error) {
		started, err := start(files)
		shared = started
		return started, err
	})
	shared *ControlPlane
)

// Shared returns the control plane that tests of a package share, each with namespaces of its own.
func Shared(t *testing.T) *ControlPlane {
	t.Helper()
	c, err := startShared()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func stopShared() {
	if shared != nil {
		_ = shared.Stop()
	}
}

// Start starts a control plane for a test that stops it.
func Start(t *testing.T) *ControlPlane {
	t.Helper()
	c, err := start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	return c
}

// start keeps certificates in a directory, so that they outlive a restart.
func start(dir string) (*ControlPlane, error) {
	environment, err := kubetest.Start(func(e *envtest.Environment) {
		e.ControlPlane.GetAPIServer().CertDir = dir
		// The API server stops after this time at the latest.
		e.ControlPlane.GetAPIServer().Configure().Set("request-timeout", "5s")
	})
	if err != nil {
		return nil, err
	}
	c := &ControlPlane{Environment: environment, kubeconfig: filepath.Join(dir, "kubeconfig")}
	if err := c.connect(); err != nil {
		return nil, errors.Join(err, environment.Stop())
	}
	return c, nil
}

func (c *ControlPlane) connect() (err error) {
	scheme := runtime.NewScheme()
	config := rest.CopyConfig(c.Config)
	config.QPS = -1
	c.Client, err = client.NewWithWatch(config, client.Options{Scheme: scheme})
	return errors.Join(err, corev1.AddToScheme(scheme), eventsv1.AddToScheme(scheme),
		v1.AddToScheme(scheme), os.WriteFile(c.kubeconfig, c.KubeConfig, 0o600))
}

// Operate runs an operator until the test ends, and shows the end of its log if the test fails.
// redis is the address of its own Redis. If that is empty, resources must name a CacheStore.
func (c *ControlPlane) Operate(t *testing.T, redis string, args ...string) *operatortest.Process {
	t.Helper()
	binary, err := operator()
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"--kubeconfig=" + c.kubeconfig, "--metrics-bind-address=0", "--health-probe-bind-address=0",
	}, args...)
	var env []string
	if redis == "" {
		args = append(args, "--default-store=false")
	} else {
		host, port, err := net.SplitHostPort(redis)
		if err != nil {
			t.Fatal(err)
		}
		env = []string{"REDIS_HOST=" + host, "REDIS_PORT=" + port}
	}
	process, err := operatortest.Start(binary, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.Kill()
		if t.Failed() {
			const tail = 6000
			output := process.Output()
			t.Logf("end of the log of operator %d:\n%s", process.PID(),
				output[max(0, len(output)-tail):])
		}
	})
	return process
}
