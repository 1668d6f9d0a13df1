// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// installation is a way to install by config/, and the values of the chart that install the same.
type installation struct {
	trees  []string            // of config/, with all that is needed
	edit   func(string) string // what a reader changes in each kustomization.yaml
	values string
	// omitted are fields that config/ leaves without effect, and the chart leaves out.
	omitted []string
}

var installations = map[string]installation{
	"all namespaces": {trees: []string{"default", "release-finalizers"}},
	"some namespaces": {
		trees:  []string{"namespaced", "watched-namespace -n shop"},
		edit:   watchShop,
		values: "{watchNamespaces: [cachewright-system, shop], metrics: {enabled: false}, crds: {install: false}, rbac: {people: false}, uninstall: {releaseFinalizers: false}}",
	},
	"some namespaces, with metrics": {
		trees: []string{"namespaced", "people", "watched-namespace -n shop"},
		edit: func(text string) string {
			return strings.NewReplacer("# components:\n# - ../metrics", "components:\n- ../metrics").Replace(watchShop(text))
		},
		values: "{watchNamespaces: [cachewright-system, shop], crds: {install: false}, uninstall: {releaseFinalizers: false}}",
	},
	"with all that is optional": {
		trees: []string{"default", "release-finalizers"},
		edit:  uncomment,
		values: `{redis: {enabled: false}, networkPolicy: {ingress: {enabled: true}},
			metrics: {serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}}}`,
		omitted: []string{"envFrom", "volumeMounts"},
	},
}

// watchShop does what config/namespaced/kustomization.yaml says about further namespaces.
func watchShop(text string) string {
	return strings.ReplaceAll(text, "--watch-namespaces=$(OWN_NAMESPACE)", "--watch-namespaces=$(OWN_NAMESPACE),shop")
}

var option = regexp.MustCompile(`(?m)^# (components:|- \.\./)`)

func uncomment(text string) string { return option.ReplaceAllString(text, "$1") }

// The chart and config/ install the same objects, as the API server completes them. Labels that say
// who installed an object may differ.
func TestChartAndConfigInstallTheSame(t *testing.T) {
	p := newCluster(t)
	for _, namespace := range []string{namespace, "shop"} {
		p.restricted(t, namespace)
	}
	for name, i := range installations {
		t.Run(name, func(t *testing.T) {
			var byConfig []*unstructured.Unstructured
			for _, object := range objectsOf(t, p.kustomize(t, i)) {
				if object.GetKind() != "Namespace" {
					byConfig = append(byConfig, object)
				}
			}
			want, got := p.completed(t, byConfig), p.completed(t, objectsOf(t, all(mustRender(t, i.values))))
			for _, object := range want {
				forget(object, i.omitted)
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
				t.Fatalf("the objects differ (-config +chart):\n%s", diff)
			}
			for key := range want {
				if diff := cmp.Diff(want[key], got[key]); diff != "" {
					t.Errorf("%s differs (-config +chart):\n%s", key, diff)
				}
			}
		})
	}
}

// The sample of a policy for egress is no part of a tree.
func TestEgressIsThatOfTheSample(t *testing.T) {
	p := newCluster(t)
	p.restricted(t, namespace)
	sample, err := os.ReadFile("../../config/network-policy/allow-egress-to-stores.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var byChart []*unstructured.Unstructured
	for _, object := range objectsOf(t, mustRender(t, "networkPolicy: {egress: {enabled: true}}").Manifest) {
		if object.GetKind() == "NetworkPolicy" {
			byChart = append(byChart, object)
		}
	}
	text := strings.NewReplacer("namespace: system", "namespace: "+namespace, "name: allow", "name: cachewright-allow").Replace(string(sample))
	want, got := p.completed(t, objectsOf(t, text)), p.completed(t, byChart)
	for key := range want {
		if diff := cmp.Diff(want[key]["spec"], got[key]["spec"]); diff != "" {
			t.Errorf("%s differs (-config +chart):\n%s", key, diff)
		}
	}
}

// kustomize builds trees of a copy of config/, after a reader's changes.
func (p *plane) kustomize(t *testing.T, i installation) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("../../config")); err != nil {
		t.Fatal(err)
	}
	var built []string
	for _, tree := range i.trees {
		tree, of, _ := strings.Cut(tree, " -n ")
		path := filepath.Join(folder, tree, "kustomization.yaml")
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i.edit != nil {
			if err := os.WriteFile(path, []byte(i.edit(string(content))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text := p.kubectl(t, "kustomize", filepath.Join(folder, tree))
		if of != "" {
			text = inNamespace(t, text, of)
		}
		built = append(built, text)
	}
	return strings.Join(built, "\n---\n")
}

// inNamespace does what -n does.
func inNamespace(t *testing.T, manifests, namespace string) string {
	t.Helper()
	var all []string
	for _, object := range objectsOf(t, manifests) {
		object.SetNamespace(namespace)
		text, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
	}
	return strings.Join(all, "\n---\n")
}

// completed returns objects as the API server would store them, by their names, without what names
// their origin.
func (p *plane) completed(t *testing.T, objects []*unstructured.Unstructured) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, object := range objects {
		key := object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
		if all[key] != nil {
			t.Fatalf("%s is there twice", key)
		}
		if err := p.Create(t.Context(), object, client.DryRunAll); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		all[key] = neutral(t, object)
	}
	return all
}

// neutral returns an object without what each creation makes new, and what names its origin.
func neutral(t *testing.T, object *unstructured.Unstructured) map[string]any {
	t.Helper()
	content := object.Object
	for _, path := range []string{
		"status", "spec.clusterIP", "spec.clusterIPs",
		"metadata.uid", "metadata.resourceVersion", "metadata.creationTimestamp", "metadata.generation", "metadata.managedFields",
	} {
		unstructured.RemoveNestedField(content, strings.Split(path, ".")...)
	}
	for _, annotation := range []string{"helm.sh/resource-policy", "helm.sh/hook", "helm.sh/hook-delete-policy"} {
		unstructured.RemoveNestedField(content, "metadata", "annotations", annotation)
	}
	if len(object.GetAnnotations()) == 0 {
		unstructured.RemoveNestedField(content, "metadata", "annotations")
	}
	for _, label := range []string{"helm.sh/chart", "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"} {
		unstructured.RemoveNestedField(content, "metadata", "labels", label)
		unstructured.RemoveNestedField(content, "spec", "template", "metadata", "labels", label)
	}
	switch object.GetKind() {
	case "Deployment":
		neutralManager(t, managerOf(t, content))
	case "Job":
		unstructured.RemoveNestedField(content, "spec", "selector")
		for _, label := range []string{"batch.kubernetes.io/controller-uid", "controller-uid"} {
			unstructured.RemoveNestedField(content, "metadata", "labels", label)
			unstructured.RemoveNestedField(content, "spec", "template", "metadata", "labels", label)
		}
	}
	return content
}

// neutralManager does what kubelet does with variables in arguments.
func neutralManager(t *testing.T, manager map[string]any) {
	t.Helper()
	args := manager["args"].([]any)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i].(string), "$(OWN_NAMESPACE)", namespace)
	}
	if strings.Contains(args[len(args)-1].(string), "--watch-namespaces") {
		delete(manager, "env") // OWN_NAMESPACE
	}
}

// managerOf returns the container of a Deployment.
func managerOf(t *testing.T, deployment map[string]any) map[string]any {
	t.Helper()
	containers, found, err := unstructured.NestedFieldNoCopy(deployment, "spec", "template", "spec", "containers")
	if err != nil || !found || len(containers.([]any)) != 1 {
		t.Fatalf("the Deployment has %v, %v", containers, err)
	}
	return containers.([]any)[0].(map[string]any)
}

// forget removes fields of the container of a Deployment, and the volumes that it mounts.
func forget(object map[string]any, fields []string) {
	if object["kind"] != "Deployment" || len(fields) == 0 {
		return
	}
	containers, _, _ := unstructured.NestedFieldNoCopy(object, "spec", "template", "spec", "containers")
	for _, field := range fields {
		unstructured.RemoveNestedField(containers.([]any)[0].(map[string]any), field)
	}
	unstructured.RemoveNestedField(object, "spec", "template", "spec", "volumes")
}
