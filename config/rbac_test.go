// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const manager = "system:serviceaccount:" + system + ":cachewright-controller-manager"

func TestManagerPermissions(t *testing.T) {
	for _, test := range []struct {
		verb, resource, namespace string
		want                      bool
	}{
		{"watch", "cachepolicies.cachewright.io", "", true},
		{"patch", "cachepolicies.cachewright.io/status", "shop", true},
		{"watch", "cacheinvalidations.cachewright.io", "", true},
		{"update", "cacheinvalidations.cachewright.io/status", "shop", true},
		{"watch", "cachestores.cachewright.io", "", true},
		{"patch", "cachestores.cachewright.io", "shop", true},
		{"patch", "cachestores.cachewright.io/status", "shop", true},
		{"get", "secrets", "shop", true},
		{"create", "events.events.k8s.io", "shop", true},
		{"create", "tokenreviews.authentication.k8s.io", "", true},
		{"create", "subjectaccessreviews.authorization.k8s.io", "", true},
		{"update", "leases.coordination.k8s.io", system, true},

		{"update", "leases.coordination.k8s.io", "kube-system", false},
		{"create", "cachepolicies.cachewright.io", "shop", false},
		{"delete", "cachepolicies.cachewright.io", "shop", false},
		{"create", "cacheinvalidations.cachewright.io", "shop", false},
		{"create", "cachestores.cachewright.io", "shop", false},
		{"delete", "cachestores.cachewright.io", "shop", false},
		{"list", "secrets", "shop", false},
		{"watch", "secrets", "shop", false},
		{"list", "configmaps", "shop", false},
		{"get", "pods", "shop", false},
		{"get", "namespaces", "shop", false},
		{"list", "namespaces", "", false},
	} {
		wantAllowed(t, manager, test.verb, test.resource, test.namespace, test.want)
	}
}

// aggregateTo begins the label that adds a role to a built-in one.
const aggregateTo = "rbac.authorization.k8s.io/aggregate-to-"

// TestRolesForPeople binds each role in one namespace and asks the API server what it allows.
// kube-controller-manager, which adds the roles to the built-in ones, does not run here. So the
// test compares the labels with the selectors of the built-in roles.
func TestRolesForPeople(t *testing.T) {
	ctx := context.Background()
	team := namespace(t, "team-")
	reads := []string{"get", "list", "watch"}
	writes := []string{"create", "update", "patch", "delete"}
	for _, kind := range []struct{ singular, plural string }{
		{"cachepolicy", "cachepolicies"},
		{"cacheinvalidation", "cacheinvalidations"},
		{"cachestore", "cachestores"},
	} {
		for _, role := range []struct {
			name, aggregatesTo  string
			allowed, disallowed []string
		}{
			{"admin", "admin", append(append([]string{"deletecollection"}, reads...), writes...), nil},
			{"editor", "edit", append(append([]string{}, reads...), writes...), []string{"deletecollection"}},
			{"viewer", "view", reads, append([]string{"deletecollection"}, writes...)},
		} {
			name := "cachewright-" + kind.singular + "-" + role.name + "-role"
			var clusterRole rbacv1.ClusterRole
			if err := cluster.Get(ctx, client.ObjectKey{Name: name}, &clusterRole); err != nil {
				t.Fatal(err)
			}
			wantAggregated(t, &clusterRole, role.aggregatesTo)
			person := kind.singular + "-" + role.name
			bind(t, person, name, team)
			resource := kind.plural + ".cachewright.io"
			for _, verb := range role.allowed {
				wantAllowed(t, person, verb, resource, team, true)
			}
			for _, verb := range role.disallowed {
				wantAllowed(t, person, verb, resource, team, false)
			}
			wantAllowed(t, person, "get", resource+"/status", team, true)
			wantAllowed(t, person, "patch", resource+"/status", team, false)
			wantAllowed(t, person, "update", resource+"/status", team, false)
			wantAllowed(t, person, "get", resource, "default", false)
		}
	}
}

// wantAggregated fails unless exactly one of the built-in roles selects a role. Each built-in role
// includes the lower ones, and selects only what those lack.
func wantAggregated(t *testing.T, role *rbacv1.ClusterRole, into string) {
	t.Helper()
	for _, name := range []string{"admin", "edit", "view"} {
		var builtIn rbacv1.ClusterRole
		if err := cluster.Get(t.Context(), client.ObjectKey{Name: name}, &builtIn); err != nil {
			t.Fatal(err)
		}
		selected := slices.ContainsFunc(builtIn.AggregationRule.ClusterRoleSelectors, func(s metav1.LabelSelector) bool { return matches(t, &s, role.Labels) })
		if selected != (name == into) {
			t.Errorf("%s, with the labels %v, is added to the built-in role %s: %t", role.Name, role.Labels, name, selected)
		}
	}
}

func bind(t *testing.T, person, role, namespace string) {
	t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: person}},
	}
	if err := cluster.Create(context.Background(), binding); err != nil {
		t.Fatal(err)
	}
}

func namespace(t *testing.T, prefix string) string {
	t.Helper()
	created := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix}}
	if err := cluster.Create(context.Background(), created); err != nil {
		t.Fatal(err)
	}
	return created.Name
}

// wantAllowed asks the API server, which may take a moment to learn of a new role or binding. A
// refusal needs no wait: each table begins with a granted permission, and once that is granted, the
// API server knows all roles.
func wantAllowed(t *testing.T, user, verb, resource, namespace string, want bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		allowed, err := mayDo(ctx, user, verb, resource, namespace)
		return allowed == want, err
	})
	if err != nil {
		t.Errorf("%s may %s %s in %q: want %t (%v)", user, verb, resource, namespace, want, err)
	}
}

func mayDo(ctx context.Context, user, verb, resource, namespace string) (bool, error) {
	resource, subresource, _ := strings.Cut(resource, "/")
	resource, group, _ := strings.Cut(resource, ".")
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: verb, Group: group, Resource: resource, Subresource: subresource,
		},
	}}
	err := cluster.Create(ctx, review)
	return review.Status.Allowed, err
}
