// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package kubetest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/cachewright/cachewright/internal/kubetest"
)

func TestStartServesTheAPIGroupToKubectl(t *testing.T) {
	if testing.Short() {
		t.Skip("needs an API server, which -short leaves out")
	}
	environment, err := kubetest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})

	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, environment.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl := exec.Command(environment.ControlPlane.KubectlPath,
		"--kubeconfig", kubeconfig, "api-resources", "--api-group", "cachewright.io", "--output", "name")
	output, err := kubectl.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for _, resource := range []string{"cachepolicies.cachewright.io", "cacheinvalidations.cachewright.io", "cachestores.cachewright.io"} {
		if !strings.Contains(string(output), resource) {
			t.Errorf("%s is not served, but\n%s", resource, output)
		}
	}
}

func TestStartSaysWhatIsMissing(t *testing.T) {
	withoutCRDs := func(e *envtest.Environment) { e.CRDDirectoryPaths = []string{"no/such/directory"} }
	environment, err := kubetest.Start(withoutCRDs)
	if err == nil {
		_ = environment.Stop()
		t.Fatal("started without its CRDs")
	}
	if !strings.Contains(err.Error(), "no/such/directory") {
		t.Errorf("error %q does not name the directory", err)
	}
}

func TestModuleRootOutsideTheRepository(t *testing.T) {
	t.Chdir(t.TempDir())
	root, err := kubetest.ModuleRoot()
	if err == nil {
		t.Errorf("found %s", root)
	}
}
