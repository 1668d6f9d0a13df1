// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/pages"
)

func TestSamplesApply(t *testing.T) {
	team := namespace(t, "samples-")

	kubectl(t, "apply", "-n", team, "-k", "samples")
	kubectl(t, "apply", "-n", team, "-k", "samples/purges")
	kubectl(t, "apply", "-n", team, "-k", "samples/hold")

	var policies v1.CachePolicyList
	var invalidations v1.CacheInvalidationList
	for _, list := range []client.ObjectList{&policies, &invalidations} {
		if err := cluster.List(context.Background(), list, client.InNamespace(team)); err != nil {
			t.Fatal(err)
		}
	}
	if applied, files := len(policies.Items)+len(invalidations.Items), sampleFiles(t); applied != len(files) {
		t.Errorf("the samples have %d resources of %d files: %q", applied, len(files), files)
	}
	users := map[string]time.Duration{}
	for _, policy := range policies.Items {
		if policy.Spec.Module == "users" {
			for _, operation := range policy.Spec.Operations {
				users[operation.Name] = operation.TTL.Duration
			}
		}
	}
	if want := map[string]time.Duration{"getById": 5 * time.Minute, "list": 3 * time.Minute, "create": 0}; fmt.Sprint(users) != fmt.Sprint(want) {
		t.Errorf("TTLs of users = %v, want %v", users, want)
	}
}

func TestStoreSampleApplies(t *testing.T) {
	team := namespace(t, "store-")

	kubectl(t, "apply", "-n", team, "-k", "samples/store")

	var store v1.CacheStore
	var policy v1.CachePolicy
	for name, object := range map[string]client.Object{"main": &store, "sessions": &policy} {
		if err := cluster.Get(context.Background(), client.ObjectKey{Namespace: team, Name: name}, object); err != nil {
			t.Fatal(err)
		}
	}
	if policy.Spec.StoreRef == nil || policy.Spec.StoreRef.Name != store.Name {
		t.Errorf("storeRef = %v, want that of the sample's CacheStore", policy.Spec.StoreRef)
	}
}

func sampleFiles(t *testing.T) []string {
	t.Helper()
	policies, err := filepath.Glob("samples/cache*.yaml")
	if err != nil || len(policies) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, tree := range []string{"purges", "hold"} {
		purges, err := filepath.Glob("samples/" + tree + "/cache*.yaml")
		if err != nil || len(purges) == 0 {
			t.Fatalf("no samples of %s: %v", tree, err)
		}
		policies = append(policies, purges...)
	}
	return policies
}

// TestDocumentedManifests creates the manifests of the documentation, as a reader would copy them.
func TestDocumentedManifests(t *testing.T) {
	shown := 0
	for _, page := range append(allPages(t), "../docs/how-to/patterns.md") {
		for number, manifest := range manifests(t, page) {
			shown++
			t.Run(fmt.Sprintf("%s/%d", filepath.Base(page), number+1), func(t *testing.T) {
				if err := createDryRun(manifest); err != nil {
					t.Errorf("%v\n%s", err, manifest)
				}
			})
		}
	}
	if shown < 7 {
		t.Errorf("found %d manifests in the documentation; the pages show more, so this looks in the wrong place", shown)
	}
}

func allPages(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("../docs/*.md")
	if err != nil || len(found) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	return append(found, "../README.md")
}

// manifests returns the YAML documents of the blocks that show a resource of ours.
func manifests(t *testing.T, page string) []string {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, block := range pages.BlocksIn("yaml", string(content)) {
		if strings.Contains(block, "apiVersion: "+v1.GroupVersion.String()) {
			found = append(found, strings.Split(block, "\n---\n")...)
		}
	}
	return found
}

// createDryRun sends a manifest through the whole admission of the API server, which refuses
// unknown fields, and stores nothing.
func createDryRun(manifest string) error {
	var object unstructured.Unstructured
	if err := yaml.UnmarshalStrict([]byte(manifest), &object.Object); err != nil {
		return err
	}
	mapping, err := cluster.RESTMapper().RESTMapping(object.GroupVersionKind().GroupKind(), object.GroupVersionKind().Version)
	if err != nil {
		return err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		object.SetNamespace("default")
	}
	strict := client.WithFieldValidation(cluster.Client, metav1.FieldValidationStrict)
	return strict.Create(context.Background(), &object, client.DryRunAll)
}
