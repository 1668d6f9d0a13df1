// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// The commands of docs/operations.md end while the operator runs. No finalizer holds a resource,
// and Redis keeps only the policies that are retained.
func TestUninstallingWithdrawsEveryPolicyAndHangsOnNothing(t *testing.T) {
	on := newCluster(t)
	manifests := on.build(t, "default")
	on.kubectl(t, "apply", "--server-side", "-f", manifests)
	shop := on.namespace(t, "shop")
	operator := on.operate(t, "--metrics-bind-address=0")
	g := gomega.NewWithT(t)
	g.SetDefaultEventuallyTimeout(timeout)

	store := on.storeWithSecret(t, shop)
	ours, theirs, retained := policyOf(shop), policyOf(shop), policyOf(shop)
	theirs.Name, theirs.Spec.Module, theirs.Spec.StoreRef = "posts", "posts", &v1.StoreReference{Name: store.Name}
	retained.Name, retained.Spec.Module, retained.Spec.DeletionPolicy = "kept", "kept", v1.DeletionRetain
	for _, object := range []client.Object{ours, theirs, retained} {
		on.create(t, object)
		g.Eventually(on.isReady).WithArguments(t.Context(), object).Should(gomega.BeTrue(), object.GetName())
	}
	purge := purgeOf(shop, "purge")
	purge.Spec.TTLSecondsAfterFinished = nil
	on.create(t, purge)

	for _, command := range uninstalling(t) {
		on.follow(t, strings.ReplaceAll(command, "dist/install.yaml", manifests))
	}
	for policy, want := range map[*v1.CachePolicy]bool{ours: false, theirs: false, retained: true} {
		if found, err := on.inForce(t.Context(), policy); err != nil || found != want {
			t.Errorf("the policy for module %s is in Redis: %t (%v), want %t", policy.Spec.Module, found, err, want)
		}
	}
	operator.endInPeace(t)
}

// build writes the manifests of a tree, as make build-installer does, and returns where.
func (c *cluster) build(t *testing.T, tree string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), c.environment.ControlPlane.KubectlPath, "kustomize", c.config(tree))
	manifests, err := command.Output()
	if err != nil {
		t.Fatalf("kubectl kustomize %s: %v", tree, err)
	}
	path := filepath.Join(t.TempDir(), "install.yaml")
	if err := os.WriteFile(path, manifests, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// follow runs a documented kubectl command. Here is no controller manager, which ends namespaces,
// so that nobody waits for that of the operator to be gone.
func (c *cluster) follow(t *testing.T, command string) {
	t.Helper()
	args := strings.Fields(command)[1:]
	if strings.HasPrefix(command, "kubectl delete -f") || strings.HasPrefix(command, "kubectl delete namespace") {
		args = append(args, "--wait=false")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args = append([]string{"--kubeconfig", c.kubeconfig}, args...)
	if output, err := exec.CommandContext(ctx, c.environment.ControlPlane.KubectlPath, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, output)
	}
}

// uninstallSection is the first block of commands below that heading.
var uninstallSection = regexp.MustCompile("(?s)### Uninstalling\n.*?```sh\n(.*?)```")

// uninstalling returns the commands of docs/operations.md that uninstall.
func uninstalling(t *testing.T) []string {
	t.Helper()
	found := uninstallSection.FindStringSubmatch(readText(t, "../../docs/operations.md"))
	if found == nil {
		t.Fatal("docs/operations.md does not say how to uninstall")
	}
	return strings.Split(strings.TrimSpace(found[1]), "\n")
}
