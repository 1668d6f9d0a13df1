// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

func TestInstallIsRepeatable(t *testing.T) {
	kubectl(t, "apply", "--server-side", "-k", "default")
}

// The API server accepts every tree that users apply separately, knows all its fields, and prints
// no warning.
func TestTreesAreAcceptedByTheAPIServer(t *testing.T) {
	team := namespace(t, "trees-")
	for tree, flags := range map[string][]string{
		"crd":                nil,
		"default":            nil,
		"namespaced":         nil,
		"people":             nil,
		"release-finalizers": nil,
		"watched-namespace":  {"-n", team},
		"samples":            {"-n", team},
		"samples/purges":     {"-n", team},
		"samples/store":      {"-n", team},
		"samples/hold":       {"-n", team},
	} {
		t.Run(tree, func(t *testing.T) { acceptedWithoutWarning(t, append([]string{"-k", tree}, flags...)...) })
	}
}

// Parts that are commented out in a tree fit it once they are uncommented.
func TestOptionalPartsFitTheirTrees(t *testing.T) {
	option := regexp.MustCompile(`(?m)^# (components:|- \.\./)`)
	for _, tree := range []string{"default", "namespaced"} {
		t.Run(tree, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.CopyFS(folder, os.DirFS(".")); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, tree, "kustomization.yaml")
			content := []byte(page(t, path))
			if !option.Match(content) {
				t.Fatalf("%s has no optional parts", tree)
			}
			if err := os.WriteFile(path, option.ReplaceAll(content, []byte("$1")), 0o600); err != nil {
				t.Fatal(err)
			}
			manifest := filepath.Join(folder, "all.yaml")
			var known []string
			for _, document := range documents(kubectl(t, "kustomize", filepath.Join(folder, tree))) {
				// Kinds of the Prometheus operator, which is not installed here.
				if kind := kindOf(t, document); kind != "ServiceMonitor" && kind != "PrometheusRule" {
					known = append(known, document)
				}
			}
			if err := os.WriteFile(manifest, []byte(strings.Join(known, "\n---\n")), 0o600); err != nil {
				t.Fatal(err)
			}
			acceptedWithoutWarning(t, "-f", manifest)
			if args := deploymentOf(t, known).Spec.Template.Spec.Containers[0].Args; args[0] != "--metrics-bind-address=:8443" {
				t.Errorf("args = %q, want metrics on", args)
			} else if !slices.Contains(args, "--default-store=false") {
				t.Errorf("args = %q, want no store of the operator's own", args)
			}
		})
	}
}

func acceptedWithoutWarning(t *testing.T, what ...string) {
	t.Helper()
	args := append([]string{"apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"}, what...)
	if output := kubectl(t, args...); strings.Contains(output, "Warning") {
		t.Errorf("kubectl %s printed\n%s", strings.Join(args, " "), output)
	}
}

// The trees for some namespaces grant the same in a namespace as config/default in all, and nothing
// outside namespaces.
func TestNamespacedTreesHaveNoClusterRoles(t *testing.T) {
	var all rbacv1.ClusterRole
	parse(t, page(t, "rbac/role.yaml"), &all)
	for tree, want := range map[string][]string{
		"namespaced":        {"Deployment", "Namespace", "Role", "Role", "RoleBinding", "RoleBinding", "ServiceAccount"},
		"watched-namespace": {"Role", "RoleBinding"},
	} {
		var kinds []string
		granted := false
		for _, document := range documents(kubectl(t, "kustomize", tree)) {
			kinds = append(kinds, kindOf(t, document))
			var role rbacv1.Role
			parse(t, document, &role)
			if role.Name == "cachewright-manager-role" {
				granted = slices.EqualFunc(role.Rules, all.Rules, func(a, b rbacv1.PolicyRule) bool { return a.String() == b.String() })
			}
		}
		slices.Sort(kinds)
		if !slices.Equal(kinds, want) {
			t.Errorf("%s has %q, want %q", tree, kinds, want)
		}
		if !granted {
			t.Errorf("%s does not grant what rbac/role.yaml does", tree)
		}
	}
}

// A checkout of a release installs that release: all trees name its image, by one tag.
func TestTreesInstallOneRelease(t *testing.T) {
	images := map[string][]string{}
	for _, tree := range []string{"default", "namespaced", "release-finalizers"} {
		for _, found := range regexp.MustCompile(`(?m)^ +image: (.*)$`).FindAllStringSubmatch(kubectl(t, "kustomize", tree), -1) {
			images[found[1]] = append(images[found[1]], tree)
		}
	}
	for image, trees := range images {
		if len(trees) != 3 || !regexp.MustCompile(`^ghcr\.io/cachewright/cachewright:v\d+\.\d+\.\d+(-[0-9a-z.]+)?$`).MatchString(image) {
			t.Errorf("%q install %s, want a released image in all", trees, image)
		}
	}
}

// Applied separately, the roles for people have the same names as in config/default.
func TestRolesForPeopleHaveOneName(t *testing.T) {
	roles := func(tree string) (names []string) {
		for _, document := range documents(kubectl(t, "kustomize", tree)) {
			var role rbacv1.ClusterRole
			parse(t, document, &role)
			for label := range role.Labels {
				if strings.HasPrefix(label, aggregateTo) {
					names = append(names, role.Name)
				}
			}
		}
		slices.Sort(names)
		return names
	}
	if alone, in := roles("people"), roles("default"); len(alone) != 9 || !slices.Equal(alone, in) {
		t.Errorf("applied alone they are %q, in config/default %q", alone, in)
	}
}

func TestNamespacedOperatorWatchesItsOwnNamespaceUnlessToldOtherwise(t *testing.T) {
	manager := deploymentOf(t, documents(kubectl(t, "kustomize", "namespaced"))).Spec.Template.Spec.Containers[0]
	if !slices.Contains(manager.Args, "--watch-namespaces=$(OWN_NAMESPACE)") || !slices.Contains(manager.Args, "--metrics-bind-address=0") {
		t.Errorf("args = %q, want its own namespace watched and no metrics", manager.Args)
	}
	if variable := manager.Env[0]; variable.Name != "OWN_NAMESPACE" || variable.ValueFrom.FieldRef.FieldPath != "metadata.namespace" {
		t.Errorf("environment = %+v, want OWN_NAMESPACE", manager.Env)
	}
}

// documents returns the documents of a YAML stream.
func documents(stream string) []string { return strings.Split(stream, "\n---\n") }

func kindOf(t *testing.T, document string) string {
	t.Helper()
	var object struct{ Kind string }
	parse(t, document, &object)
	return object.Kind
}

func deploymentOf(t *testing.T, manifests []string) *appsv1.Deployment {
	t.Helper()
	for _, document := range manifests {
		if kindOf(t, document) == "Deployment" {
			var deployment appsv1.Deployment
			if err := yaml.Unmarshal([]byte(document), &deployment); err != nil {
				t.Fatal(err)
			}
			return &deployment
		}
	}
	t.Fatal("there is no Deployment")
	return nil
}
