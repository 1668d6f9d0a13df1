// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/pages"
)

const helmPage = "../../docs/how-to/helm.md"

// published is where the page finds the chart of a release. This checkout stands for it.
var published = regexp.MustCompile(`oci://\S+ --version \S+`)

// blocksOf returns the blocks of a language below a heading of the page, or all of them.
func blocksOf(t *testing.T, language, heading string) (blocks []string) {
	t.Helper()
	page, err := os.ReadFile(helmPage)
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	if heading != "" {
		_, text, _ = strings.Cut(text, "\n## "+heading+"\n")
		text, _, _ = strings.Cut(text, "\n## ")
	}
	if blocks = pages.BlocksIn(language, text); len(blocks) == 0 {
		t.Fatalf("%s has no block of %s below %q", helmPage, language, heading)
	}
	return blocks
}

// The page says which values to write. The API server takes what the chart makes of each block.
func TestTheValuesOfThePageInstall(t *testing.T) {
	p := newCluster(t)
	p.kubectl(t, "apply", "--server-side", "-f", "../../config/crd/bases")
	p.kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	for _, name := range []string{namespace, "shop", "blog"} {
		p.restricted(t, name)
	}
	var said warnings
	strict := strictClient(t, p, &said)
	defaults := all(mustRender(t, ""))
	blocks := blocksOf(t, "yaml", "")
	for _, block := range blocks {
		manifests := all(mustRender(t, block))
		if manifests == defaults {
			t.Errorf("these values change nothing:\n%s", block)
		}
		for _, object := range objectsOf(t, manifests) {
			if object.GetKind() == "CustomResourceDefinition" {
				continue
			}
			if err := strict.Create(t.Context(), object, client.DryRunAll); err != nil {
				t.Errorf("%s %s: %v, with\n%s", object.GetKind(), object.GetName(), err, block)
			}
		}
	}
	if len(blocks) < 6 || len(said) > 0 {
		t.Errorf("%d blocks, warnings %q", len(blocks), said)
	}
}

// The lines of the page install, upgrade, go back and uninstall, in this order.
func TestTheLinesOfThePageWork(t *testing.T) {
	i := &lifetime{plane: newCluster(t), system: "page"}
	for _, heading := range []string{"Install", "Upgrade"} {
		for _, block := range blocksOf(t, "sh", heading) {
			i.follow(t, block)
		}
	}
	i.kubectl(t, "-n", i.system, "get", "secret", "cachewright-redis")
	uninstalled := make(chan struct{})
	go func() {
		defer close(uninstalled)
		for _, block := range blocksOf(t, "sh", "Uninstall") {
			i.follow(t, block)
		}
	}()
	i.runHook(t)
	<-uninstalled
	if err := i.Get(t.Context(), i.deployment(), &appsv1.Deployment{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Deployment is not gone: %v", err)
	}
	i.kubectl(t, "get", "crd", "cachepolicies.cachewright.io")
}

// Helm takes over what the manifests installed.
func TestHelmTakesOverFromManifests(t *testing.T) {
	i := &lifetime{plane: newCluster(t), system: namespace}
	i.kubectl(t, "apply", "--server-side", "-k", "../../config/default")
	for _, block := range blocksOf(t, "sh", "Take over from manifests") {
		i.follow(t, block)
	}
	var taken appsv1.Deployment
	if err := i.Get(t.Context(), i.deployment(), &taken); err != nil {
		t.Fatal(err)
	}
	if taken.Annotations["meta.helm.sh/release-name"] != name {
		t.Errorf("the Deployment belongs to %q", taken.Annotations)
	}
	i.helm(t, "uninstall", name, "-n", i.system, "--no-hooks")
}

// follow runs lines, as a reader who pastes them. They may be called beside a test that has ended.
func (i *lifetime) follow(t *testing.T, block string) {
	for line := range strings.Lines(block) {
		line = published.ReplaceAllString(strings.ReplaceAll(line, namespace, i.system), chartPath)
		words := strings.Fields(line)
		if words[0] == "kubectl" && strings.Contains(line, " rollout status ") {
			i.rollOut(t)
		}
		if _, err := i.run(t.Context(), words[0], words[1:]...); err != nil {
			t.Error(err)
		}
	}
}

func (i *lifetime) deployment() client.ObjectKey {
	return client.ObjectKey{Namespace: i.system, Name: name + "-controller-manager"}
}

// rollOut tells of the Deployment what a cluster tells when its pods are ready.
func (i *lifetime) rollOut(t *testing.T) {
	t.Helper()
	var d appsv1.Deployment
	if err := i.Get(t.Context(), i.deployment(), &d); err != nil {
		t.Fatal(err)
	}
	d.Status = kubetest.RolledOut(&d)
	if err := i.Status().Update(t.Context(), &d); err != nil {
		t.Fatal(err)
	}
}
