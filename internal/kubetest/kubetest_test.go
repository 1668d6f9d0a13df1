// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package kubetest_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/cachewright/cachewright/internal/detached"
	"github.com/cachewright/cachewright/internal/kubetest"
)

// kubeconfigOf is the variable that makes this binary run a control plane until it is killed. It
// names the file for the kubeconfig.
const kubeconfigOf = "KUBETEST_KUBECONFIG"

func TestMain(m *testing.M) {
	if path := os.Getenv(kubeconfigOf); path != "" {
		fmt.Println(serve(path))
		select {}
	}
	os.Exit(m.Run())
}

// serve starts a control plane. It returns the path of kubectl and the addresses of both servers,
// or what went wrong.
func serve(kubeconfig string) string {
	environment, err := kubetest.Start()
	if err == nil {
		err = os.WriteFile(kubeconfig, environment.KubeConfig, 0o600)
	}
	if err != nil {
		return err.Error()
	}
	plane := environment.ControlPlane
	return strings.Join([]string{plane.KubectlPath, plane.Etcd.URL.Host, plane.APIServer.SecureServing.URL("https", "").Host}, " ")
}

func TestStartServesTheAPIGroupToKubectl(t *testing.T) {
	if testing.Short() {
		t.Skip("needs an API server, which -short leaves out")
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	test, started := run(t, kubeconfig)
	kubectl, servers := started[0], started[1:]
	output, err := exec.Command(kubectl,
		"--kubeconfig", kubeconfig, "api-resources", "--api-group", "cachewright.io", "--output", "name").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for _, resource := range []string{"cachepolicies.cachewright.io", "cacheinvalidations.cachewright.io", "cachestores.cachewright.io"} {
		if !strings.Contains(string(output), resource) {
			t.Errorf("%s is not served, but\n%s", resource, output)
		}
	}

	t.Run("and nothing is left running once the test is killed", func(t *testing.T) {
		_ = test.Process.Kill()
		_ = test.Wait()
		for _, server := range servers {
			gomega.NewWithT(t).Eventually(func() error { return dial(server) }, time.Minute).ShouldNot(gomega.Succeed(), server)
		}
	})
}

// run starts this binary as a test that runs a control plane, and returns what serve returned there.
func run(t *testing.T, kubeconfig string) (test *exec.Cmd, started []string) {
	t.Helper()
	test = exec.Command(os.Args[0])
	test.Env = append(os.Environ(), kubeconfigOf+"="+kubeconfig)
	test.Stderr = os.Stderr
	test.SysProcAttr = detached.Attributes()
	output, err := test.StdoutPipe()
	if err == nil {
		err = test.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = test.Process.Kill()
		_ = test.Wait()
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	if started = strings.Fields(line); err != nil || len(started) != 3 {
		t.Fatalf("the control plane did not start: %s (%v)", line, err)
	}
	for _, server := range started[1:] {
		if err := dial(server); err != nil {
			t.Fatal(err)
		}
	}
	return test, started
}

func dial(address string) error {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err
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
