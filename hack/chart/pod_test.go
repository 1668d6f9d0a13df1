// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/operatortest"
)

// binary is the operator of the image, made once as make image makes it.
var binary = sync.OnceValues(func() (string, error) {
	root, err := kubetest.ModuleRoot()
	if err != nil {
		return "", err
	}
	platform := "linux/" + runtime.GOARCH
	build := exec.Command("go", "-C", filepath.Join(root, "hack", "image"), "run", ".", "-source", root, "-platforms", platform,
		"-output", filepath.Join(shared.dir, "operator.tar"), "-binaries", shared.dir)
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the image: %w\n%s", err, output)
	}
	return filepath.Join(shared.dir, "operator-"+strings.ReplaceAll(platform, "/", "-")), nil
})

// podSpec returns what the installed Deployment runs.
func (p *plane) podSpec(t *testing.T, namespace string) corev1.PodSpec {
	t.Helper()
	var list appsv1.DeploymentList
	if err := p.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 {
		t.Fatalf("%d Deployments in %s, want one", len(list.Items), namespace)
	}
	return list.Items[0].Spec.Template.Spec
}

// startPod runs the container of a pod as kubelet does: with its arguments, its environment, and
// the rights of its account. The process has no network of its own, so it gets free ports. The
// token and the namespace of the account are in no fixed file: KUBECONFIG and a flag name them.
func (p *plane) startPod(t *testing.T, namespace string, spec corev1.PodSpec) *operatortest.Process {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	container := spec.Containers[0]
	env := p.environmentOf(t, namespace, container)
	args := expand(container.Args, env)
	args = append(args, "--leader-election-namespace="+namespace, "--health-probe-bind-address="+operatortest.FreeAddress(t))
	if args[0] != "--metrics-bind-address=0" {
		args = append(args, "--metrics-bind-address="+operatortest.FreeAddress(t))
	}
	variables := []string{"KUBECONFIG=" + p.accountConfig(t, namespace, spec.ServiceAccountName)}
	for name, value := range env {
		variables = append(variables, name+"="+value)
	}
	process, err := operatortest.Start(program, variables, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.Kill()
		if output := process.Output(); t.Failed() || strings.Contains(output, "is forbidden") {
			t.Errorf("output of the operator:\n%s", output)
		}
	})
	return process
}

// environmentOf resolves the variables of a container. Those in env precede those in envFrom.
func (p *plane) environmentOf(t *testing.T, namespace string, container corev1.Container) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, from := range container.EnvFrom {
		var secret corev1.Secret
		err := p.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: from.SecretRef.Name}, &secret)
		if apierrors.IsNotFound(err) && from.SecretRef.Optional != nil && *from.SecretRef.Optional {
			continue
		}
		if err != nil {
			t.Fatal("the pod would not start: ", err)
		}
		for name, value := range secret.Data {
			env[name] = string(value)
		}
	}
	for _, variable := range container.Env {
		env[variable.Name] = variable.Value
		if variable.ValueFrom != nil {
			ref := variable.ValueFrom.SecretKeyRef
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: ref.Name}}
			p.get(t, secret)
			env[variable.Name] = string(secret.Data[ref.Key])
		}
	}
	return env
}

// expand replaces the variables in arguments.
func expand(args []string, env map[string]string) []string {
	var pairs []string
	for name, value := range env {
		pairs = append(pairs, "$("+name+")", value)
	}
	expanded := make([]string, 0, len(args))
	for _, arg := range args {
		expanded = append(expanded, strings.NewReplacer(pairs...).Replace(arg))
	}
	return expanded
}

// accountConfig writes a kubeconfig with a token of an account.
func (p *plane) accountConfig(t *testing.T, namespace, account string) string {
	t.Helper()
	token, err := p.clients.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	admin, config := p.environment.Config, clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: admin.Host, CertificateAuthorityData: admin.CAData}
	config.AuthInfos["test"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	config.CurrentContext = "test"
	path := filepath.Join(t.TempDir(), "account")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// write writes a file of values. Its path has no comma, which would end it in a flag of Helm.
func write(t *testing.T, text string, args ...any) string {
	t.Helper()
	file, err := os.CreateTemp(shared.dir, "values-*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := fmt.Fprintf(file, text, args...); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}
