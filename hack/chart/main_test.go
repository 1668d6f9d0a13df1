// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	helm "helm.sh/helm/v4/pkg/cmd"
	helmkube "helm.sh/helm/v4/pkg/kube"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/kubetest"
)

const (
	// timeout is how long a test waits for what must happen. It is long because machines are busy.
	timeout = 2 * time.Minute
	// asHelm makes the binary of these tests the command helm.
	asHelm = "CACHEWRIGHT_TEST_AS_HELM"
)

func TestMain(m *testing.M) {
	if os.Getenv(asHelm) != "" {
		os.Exit(runHelm())
	}
	os.Exit(func() int {
		var err error
		if shared.dir, err = os.MkdirTemp("", "cachewright-chart-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(shared.dir) }()
		defer stopShared()
		return m.Run()
	}())
}

// runHelm is what the program helm does.
func runHelm() int {
	helmkube.ManagedFieldsManager = "helm"
	command, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := command.Execute(); err != nil {
		return 1
	}
	return 0
}

// shared is what all tests use: a control plane without anything of ours.
var shared struct {
	dir         string
	environment *envtest.Environment
}

// plane is a control plane, and the commands that reach it.
type plane struct {
	client.Client
	clients     kubernetes.Interface
	environment *envtest.Environment
	kubeconfig  string // of the administrator
}

var startPlane = sync.OnceValues(func() (*plane, error) {
	environment, err := kubetest.Start(kubetest.WithoutCRDs)
	if err != nil {
		return nil, err
	}
	shared.environment = environment
	p := &plane{environment: environment, kubeconfig: filepath.Join(shared.dir, "admin")}
	var errClient, errClients error
	err = errors.Join(v1.AddToScheme(scheme.Scheme), apiextensionsv1.AddToScheme(scheme.Scheme), os.WriteFile(p.kubeconfig, environment.KubeConfig, 0o600))
	p.Client, errClient = client.New(environment.Config, client.Options{Scheme: scheme.Scheme})
	p.clients, errClients = kubernetes.NewForConfig(environment.Config)
	return p, errors.Join(err, errClient, errClients)
})

func stopShared() {
	if shared.environment != nil {
		_ = shared.environment.Stop()
	}
}

// run runs one of the commands of a reader, and returns what it prints.
func (p *plane) run(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	path := p.environment.ControlPlane.KubectlPath
	if program == "helm" {
		path = os.Args[0]
	}
	command := exec.CommandContext(ctx, path, args...)
	command.Env = append(os.Environ(), asHelm+"=1", "KUBECONFIG="+p.kubeconfig,
		"HELM_CONFIG_HOME="+shared.dir, "HELM_CACHE_HOME="+shared.dir, "HELM_DATA_HOME="+shared.dir)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", program, strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String(), nil
}

func (p *plane) helm(t *testing.T, args ...string) string {
	t.Helper()
	output, err := p.run(t.Context(), "helm", args...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

func (p *plane) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := p.run(t.Context(), "kubectl", args...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}
