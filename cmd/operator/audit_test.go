// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// auditPolicy makes the API server log every request of service accounts, and nothing else.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
`

// audited makes a control plane write an audit log into a folder, and returns its path.
func audited(dir string) (configure func(*envtest.Environment), log string, err error) {
	policy, log := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "audit.log")
	return func(e *envtest.Environment) {
		e.ControlPlane.GetAPIServer().Configure().
			Set("audit-policy-file", policy).Set("audit-log-path", log).Set("audit-log-mode", "blocking")
	}, log, os.WriteFile(policy, []byte(auditPolicy), 0o600)
}

// request is a request to the API server. Equal values need the same permission.
type request struct {
	namespace, resource, verb string
	named                     bool
}

func (r request) String() string {
	return fmt.Sprintf("%s %s in %q", r.verb, r.resource, r.namespace)
}

// requestsOf returns the requests of a user since the test began; refused are those that were
// forbidden. It leaves out requests without a resource, such as discovery: they are open to every
// authenticated user.
func requestsOf(t *testing.T, on *cluster, user string) (all, refused map[request]bool) {
	t.Helper()
	file, err := os.Open(on.audit)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	all, refused = map[request]bool{}, map[request]bool{}
	for lines := json.NewDecoder(file); lines.More(); {
		var e struct {
			User      struct{ Username string }
			Verb      string
			ObjectRef *struct{ APIGroup, Resource, Subresource, Namespace, Name string }
			Response  struct{ Code int } `json:"responseStatus"`
			Received  time.Time          `json:"requestReceivedTimestamp"`
		}
		if err := lines.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if e.User.Username != user || e.ObjectRef == nil || e.Received.Before(on.began) {
			continue
		}
		o := e.ObjectRef
		r := request{o.Namespace, resourceName(o.APIGroup, o.Resource, o.Subresource), e.Verb, o.Name != ""}
		all[r] = true
		if e.Response.Code == 403 {
			refused[r] = true
		}
	}
	return all, refused
}

func resourceName(group, resource, subresource string) string {
	if subresource != "" {
		resource += "/" + subresource
	}
	return strings.TrimSuffix(resource+"."+group, ".")
}

// grant is one verb on one resource that a role gives.
type grant struct {
	role string
	// namespace of the grant. Empty means every namespace, and outside namespaces.
	namespace, resource, verb string
}

func (g grant) String() string {
	return fmt.Sprintf("%s %s by %s in %q", g.verb, g.resource, g.role, g.namespace)
}

func (g grant) allows(r request) bool {
	return g.resource == r.resource && g.verb == r.verb && (g.namespace == "" || g.namespace == r.namespace)
}

// grantsOf reads the grants of a service account from the API server. Our roles have no rules that
// are narrower than a resource or wider than a name.
func grantsOf(t *testing.T, clients kubernetes.Interface, account rbacv1.Subject) []grant {
	t.Helper()
	rbac, ctx, all := clients.RbacV1(), t.Context(), metav1.ListOptions{}
	clusterBindings, err1 := rbac.ClusterRoleBindings().List(ctx, all)
	bindings, err2 := rbac.RoleBindings("").List(ctx, all)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	var grants []grant
	for _, b := range clusterBindings.Items {
		if subjectOf(b.Subjects, account) {
			role, err := rbac.ClusterRoles().Get(ctx, b.RoleRef.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			grants = append(grants, expand(role.Name, "", role.Rules)...)
		}
	}
	for _, b := range bindings.Items {
		if subjectOf(b.Subjects, account) {
			role, err := rbac.Roles(b.Namespace).Get(ctx, b.RoleRef.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			grants = append(grants, expand(role.Name, b.Namespace, role.Rules)...)
		}
	}
	return grants
}

func subjectOf(subjects []rbacv1.Subject, account rbacv1.Subject) bool {
	for _, s := range subjects {
		if s.Kind == account.Kind && s.Namespace == account.Namespace && s.Name == account.Name {
			return true
		}
	}
	return false
}

func expand(role, namespace string, rules []rbacv1.PolicyRule) []grant {
	var grants []grant
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					grants = append(grants, grant{role, namespace, resourceName(group, resource, ""), verb})
				}
			}
		}
	}
	return grants
}
