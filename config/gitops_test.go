// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	v1 "github.com/cachewright/cachewright/api/v1"
)

const inGit = `apiVersion: cachewright.io/v1
kind: CacheStore
metadata: {name: main}
spec:
  addresses: ["redis:6379"]
  credentialsSecretRef: {name: main-auth}
  sentinel: {masterName: main}
  sentinelCredentialsSecretRef: {name: sentinel-auth}
  tls:
    caSecretRef: {name: authority}
    clientCertificateSecretRef: {name: certificate}
---
apiVersion: cachewright.io/v1
kind: CachePolicy
metadata: {name: users}
spec:
  module: users
  storeRef: {name: main}
  operations:
  - {name: getById, ttl: 5m}
  - {name: list, ttl: 3m}
---
apiVersion: cachewright.io/v1
kind: CacheInvalidation
metadata: {name: purge}
spec:
  storeRef: {name: main}
  targets: [{module: users}]
`

const patchOfOneOperation = `patches:
- patch: |
    apiVersion: cachewright.io/v1
    kind: CachePolicy
    metadata: {name: users}
    spec:
      operations:
      - {name: list, ttl: 1m}
`

const generatedSecrets = `secretGenerator:
- {name: main-auth, literals: [password=a]}
- {name: sentinel-auth, literals: [password=b]}
- {name: authority, literals: [ca.crt=c]}
- {name: certificate, literals: [tls.crt=d, tls.key=e]}
`

// Every name that a resource of ours holds follows the resource that it names.
func TestNamesOfOurResourcesFollowKustomize(t *testing.T) {
	built := buildOf(t, "namePrefix: blue-\ncomponents: [../gitops]\n"+generatedSecrets)
	var store v1.CacheStore
	var policy v1.CachePolicy
	var purge v1.CacheInvalidation
	secrets := map[string]bool{}
	for _, document := range documents(built) {
		switch kindOf(t, document) {
		case "CacheStore":
			parse(t, document, &store)
		case "CachePolicy":
			parse(t, document, &policy)
		case "CacheInvalidation":
			parse(t, document, &purge)
		case "Secret":
			var secret struct{ Metadata struct{ Name string } }
			parse(t, document, &secret)
			secrets[secret.Metadata.Name] = true
		}
	}
	if store.Name != "blue-main" || policy.Spec.StoreRef.Name != store.Name || purge.Spec.StoreRef.Name != store.Name {
		t.Errorf("the store %s is called %s by the policy, %s by the purge", store.Name, policy.Spec.StoreRef.Name, purge.Spec.StoreRef.Name)
	}
	named := []string{
		store.Spec.CredentialsSecretRef.Name, store.Spec.SentinelCredentialsSecretRef.Name,
		store.Spec.TLS.CASecretRef.Name, store.Spec.TLS.ClientCertificateSecretRef.Name,
	}
	for _, name := range named {
		if !secrets[name] || !strings.HasPrefix(name, "blue-") {
			t.Errorf("the store names the Secret %s, and there are %v", name, secrets)
		}
	}
	slices.Sort(named)
	if len(slices.Compact(named)) != len(secrets) || len(secrets) != 4 {
		t.Errorf("the store names %q of the Secrets %v", named, secrets)
	}
}

// A patch of one operation leaves the others of its policy alone.
func TestAPatchOfOneOperationKeepsTheOthers(t *testing.T) {
	built := buildOf(t, "openapi: {path: merge-keys.json}\n"+patchOfOneOperation)
	if strings.Count(built, "name: getById") != 1 || strings.Count(built, "ttl: 5m") != 1 {
		t.Errorf("the patch of list dropped getById:\n%s", built)
	}
	if strings.Contains(built, "ttl: 3m") || strings.Count(built, "ttl: 1m") != 1 {
		t.Errorf("the patch did not set the TTL of list:\n%s", built)
	}
}

// The kustomization that docs/gitops.md shows does both.
func TestTheDocumentedKustomizationKeepsNamesAndOperations(t *testing.T) {
	_, rest, found := strings.Cut(page(t, "../docs/gitops.md"), "# kustomization.yaml\n")
	shown, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("docs/gitops.md shows no kustomization")
	}
	built := buildOf(t, strings.Replace(shown, "resources:\n- cache.yaml\n", "", 1))
	if strings.Count(built, "name: blue-main\n") != 3 || strings.Count(built, "name: getById") != 1 || strings.Count(built, "ttl: 1m") != 1 {
		t.Errorf("it builds\n%s", built)
	}
}

// Flux and Argo CD install the release of this checkout, and keep the CRDs when they prune.
func TestToolsInstallTheReleaseAndKeepTheCRDs(t *testing.T) {
	tag := releasedTag(t)
	for name, want := range map[string]struct{ patches, tag, keeps string }{
		"flux":   {"spec", "tag: ", "kustomize.toolkit.fluxcd.io/prune: disabled"},
		"argocd": {"spec.source.kustomize", "targetRevision: ", "argocd.argoproj.io/sync-options: Prune=false,Delete=false"},
	} {
		t.Run(name, func(t *testing.T) {
			_, manifests, _ := strings.Cut(page(t, "gitops/operator/"+name+".yaml"), "\n")
			if !strings.Contains(page(t, "../docs/gitops.md"), "```yaml\n"+manifests+"```") {
				t.Error("docs/gitops.md shows another manifest")
			}
			if !strings.Contains(manifests, want.tag+tag+"\n") {
				t.Errorf("it does not install %s", tag)
			}
			all := documents(manifests)
			var object map[string]any
			parse(t, all[len(all)-1], &object)
			for _, field := range strings.Split(want.patches, ".") {
				object = object[field].(map[string]any)
			}
			kustomization, err := yaml.Marshal(map[string]any{"resources": []string{"../config/default"}, "patches": object["patches"]})
			if err != nil {
				t.Fatal(err)
			}
			kept := 0
			for _, document := range documents(kubectl(t, "kustomize", beside(t, string(kustomization)))) {
				isCRD, keeps := kindOf(t, document) == "CustomResourceDefinition", strings.Contains(document, want.keeps)
				if isCRD != keeps {
					t.Errorf("it keeps a %s: %t", kindOf(t, document), keeps)
				}
				if keeps {
					kept++
				}
			}
			if kept != 3 {
				t.Errorf("it keeps %d CRDs", kept)
			}
		})
	}
}

// releasedTag is that of config/image.
func releasedTag(t *testing.T) string {
	t.Helper()
	_, rest, _ := strings.Cut(page(t, "image/kustomization.yaml"), "newTag: ")
	tag, _, _ := strings.Cut(rest, "\n")
	return tag
}

// beside writes a kustomization into a folder beside a copy of config/.
func beside(t *testing.T, kustomization string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "config"), os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(root, "tool")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

// buildOf builds what a team keeps in Git, with more lines in its kustomization.
func buildOf(t *testing.T, lines string) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "gitops"), os.DirFS("gitops")); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"kustomization.yaml": "resources: [cache.yaml]\n" + lines,
		"cache.yaml":         inGit,
		"merge-keys.json":    page(t, "gitops/merge-keys.json"),
	}
	if err := os.Mkdir(filepath.Join(folder, "team"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, "team", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return kubectl(t, "kustomize", filepath.Join(folder, "team"))
}
