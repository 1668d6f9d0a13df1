// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package config_test installs the manifests of this folder, and those that the documentation
// shows, on a real API server.
package config_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/kubetest"
)

// cluster is a real API server on which config/default is installed.
var cluster struct {
	client.Client
	// kubectl is the command, up to its verb.
	kubectl []string
	// installed is what kubectl printed when it installed config/default.
	installed string
}

func TestMain(m *testing.M) {
	os.Exit(runOnCluster(m))
}

func runOnCluster(m *testing.M) int {
	environment, err := kubetest.Start(kubetest.WithoutCRDs)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := environment.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the control plane:", err)
		}
	}()
	folder, err := os.MkdirTemp("", "cachewright-config-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "keep a kubeconfig for kubectl:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	if err := install(environment, folder); err != nil {
		fmt.Fprintln(os.Stderr, "install config/default:", err)
		return 1
	}
	return m.Run()
}

func install(environment *envtest.Environment, folder string) error {
	for _, add := range []func() error{
		func() error { return v1.AddToScheme(scheme.Scheme) },
		func() error { return apiextensions.AddToScheme(scheme.Scheme) },
	} {
		if err := add(); err != nil {
			return err
		}
	}
	kubeconfig := filepath.Join(folder, "kubeconfig")
	if err := os.WriteFile(kubeconfig, environment.KubeConfig, 0o600); err != nil {
		return err
	}
	cluster.kubectl = []string{environment.ControlPlane.KubectlPath, "--kubeconfig", kubeconfig}

	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var err error
	if cluster.installed, err = runKubectl(ctx, "apply", "--server-side", "-k", "default"); err != nil {
		return err
	}
	if _, err = runKubectl(ctx, "wait", "--for=condition=Established", "--timeout=60s",
		"crd/cachepolicies.cachewright.io", "crd/cacheinvalidations.cachewright.io", "crd/cachestores.cachewright.io"); err != nil {
		return err
	}
	cluster.Client, err = client.New(environment.Config, client.Options{Scheme: scheme.Scheme})
	return err
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	output, err := runKubectl(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

func runKubectl(ctx context.Context, args ...string) (string, error) {
	command := append(append([]string{}, cluster.kubectl...), args...)
	output, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return string(output), nil
}
