// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/kubetest"
)

const (
	policies      = "cachepolicies"
	invalidations = "cacheinvalidations"
	stores        = "cachestores"
)

// kinds of the resources.
var kinds = map[string]string{policies: "CachePolicy", invalidations: "CacheInvalidation", stores: "CacheStore"}

var crds = filepath.Join("..", "..", "config", "crd", "bases")

// cluster is the real API server that every test of this package talks to.
var cluster struct {
	client.Client
	raw rest.Interface
	// kubectl is the command, up to its verb.
	kubectl []string
}

func TestMain(m *testing.M) {
	os.Exit(runAgainstAPIServer(m))
}

func runAgainstAPIServer(m *testing.M) int {
	environment, err := kubetest.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := environment.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the control plane:", err)
		}
	}()
	if err := connect(environment.Config); err != nil {
		fmt.Fprintln(os.Stderr, "connect to the API server:", err)
		return 1
	}
	kubeconfig, err := os.CreateTemp("", "cachewright-kubeconfig-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "keep a kubeconfig for kubectl:", err)
		return 1
	}
	defer func() { _ = os.Remove(kubeconfig.Name()) }()
	if _, err := kubeconfig.Write(environment.KubeConfig); err != nil {
		fmt.Fprintln(os.Stderr, "keep a kubeconfig for kubectl:", err)
		return 1
	}
	cluster.kubectl = []string{environment.ControlPlane.KubectlPath, "--kubeconfig", kubeconfig.Name()}
	return m.Run()
}

func connect(config *rest.Config) error {
	if err := v1.AddToScheme(scheme.Scheme); err != nil {
		return err
	}
	// The tables send a few thousand requests, which the client's throttle would only slow down.
	config.QPS = -1
	typed, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		return err
	}
	forGroup := rest.CopyConfig(config)
	forGroup.GroupVersion = &v1.GroupVersion
	forGroup.APIPath = "/apis"
	forGroup.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	raw, err := rest.RESTClientFor(forGroup)
	if err != nil {
		return err
	}
	cluster.Client, cluster.raw = typed, raw
	return nil
}

// create sends a spec as kubectl create does, with strict field validation, and returns the created
// object as JSON.
func create(t rapid.TB, resource, spec string) ([]byte, error) {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(spec))
	if err != nil {
		t.Fatalf("the test's own YAML is broken: %v\n%s", err, spec)
	}
	return createJSON(resource, string(asJSON), "Strict")
}

func createJSON(resource, spec, fieldValidation string) ([]byte, error) {
	body := fmt.Sprintf(`{"apiVersion":"cachewright.io/v1","kind":%q,"metadata":{"generateName":"test-"},"spec":%s}`, kinds[resource], spec)
	return send(cluster.raw.Post(), resource, body, fieldValidation)
}

// mustCreate creates an object whose spec must be accepted, and deletes it when the test ends.
func mustCreate[T client.Object](t *testing.T, resource, spec string, object T) T {
	t.Helper()
	stored, err := create(t, resource, spec)
	if err != nil {
		t.Fatalf("refused: %v\n%s", err, spec)
	}
	if err := json.Unmarshal(stored, object); err != nil {
		t.Fatalf("admitted, but the operator cannot decode it: %v\n%s", err, stored)
	}
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(cluster.Delete(context.Background(), object)); err != nil {
			t.Errorf("delete %s: %v", object.GetName(), err)
		}
	})
	return object
}

// wantRefused fails unless the API server refused the manifest with a message that contains every
// part.
func wantRefused(t rapid.TB, err error, parts []string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; want a refusal that says %q", parts)
	}
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		t.Fatalf("got %v; want a refusal by validation", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("message %q does not say %q", err, part)
		}
	}
}
