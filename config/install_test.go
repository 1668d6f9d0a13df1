// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const system = "cachewright-system"

func TestInstallWarnsOfNothing(t *testing.T) {
	if strings.Contains(cluster.installed, "Warning") {
		t.Errorf("kubectl apply -k config/default printed\n%s", cluster.installed)
	}
}

// The namespace enforces the restricted level of pod security, so the API server checks the
// manager's pod.
func TestManagerPodIsAdmittedUnderRestrictedPodSecurity(t *testing.T) {
	ctx := context.Background()
	pod := managerPod(t)
	if err := cluster.Create(ctx, pod, client.DryRunAll); err != nil {
		t.Errorf("the manager's pod is refused: %v", err)
	}

	loose := managerPod(t)
	loose.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = ptr.To(true)
	if err := cluster.Create(ctx, loose, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("a pod that may escalate privileges: got %v, want it refused, else this test tries nothing", err)
	}
}

func TestManager(t *testing.T) {
	pod := managerPod(t)
	manager := pod.Spec.Containers[0]

	if want := []string{"--metrics-bind-address=:8443", "--leader-elect", "--health-probe-bind-address=:8081"}; !slices.Equal(manager.Args, want) {
		t.Errorf("args = %q, want %q", manager.Args, want)
	}
	if !*manager.SecurityContext.ReadOnlyRootFilesystem {
		t.Error("the root file system can be written")
	}
	if pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks {
		t.Error("service links are on: a Service called redis would set REDIS_PORT")
	}
	secret := manager.EnvFrom[0].SecretRef
	if secret.Name != "cachewright-redis" || !*secret.Optional {
		t.Errorf("environment comes from %+v, want the optional Secret cachewright-redis", secret)
	}
	if manager.Resources.Requests.Memory().IsZero() || manager.Resources.Limits.Memory().IsZero() {
		t.Errorf("resources = %+v, want requests and limits", manager.Resources)
	}
	for path, probe := range map[string]*corev1.Probe{"/healthz": manager.LivenessProbe, "/readyz": manager.ReadinessProbe} {
		if probe.HTTPGet.Path != path || portNumber(manager, probe.HTTPGet.Port) != 8081 {
			t.Errorf("probe = %+v, want %s on 8081", probe.HTTPGet, path)
		}
	}
}

func TestMetricsServiceReachesManager(t *testing.T) {
	pod := managerPod(t)
	var services corev1.ServiceList
	if err := cluster.List(context.Background(), &services, client.InNamespace(system)); err != nil {
		t.Fatal(err)
	}
	if len(services.Items) != 1 {
		t.Fatalf("%d services in %s, want the metrics service alone", len(services.Items), system)
	}
	service := services.Items[0]
	if !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Labels)) {
		t.Errorf("selector %v does not match the manager's labels %v", service.Spec.Selector, pod.Labels)
	}
	port := service.Spec.Ports[0]
	if got := portNumber(pod.Spec.Containers[0], port.TargetPort); port.Port != 8443 || got != 8443 {
		t.Errorf("port %d leads to %d of the pod, want 8443 for both", port.Port, got)
	}

	monitor := struct {
		Spec struct {
			Endpoints []struct{ Port, Path, Scheme string }
			Selector  metav1.LabelSelector
		}
	}{}
	for _, document := range documents(kubectl(t, "kustomize", "prometheus")) {
		if kindOf(t, document) == "ServiceMonitor" {
			parse(t, document, &monitor)
		}
	}
	endpoint := monitor.Spec.Endpoints[0]
	if endpoint.Port != port.Name || endpoint.Path != "/metrics" || endpoint.Scheme != "https" {
		t.Errorf("the ServiceMonitor scrapes %+v, want https /metrics of port %s", endpoint, port.Name)
	}
	// The alerts select the operator by a job with the name of the service.
	if !strings.Contains(page(t, "prometheus/alerts.yaml"), `up{job="`+service.Name+`"}`) {
		t.Errorf("no alert checks whether %s is up", service.Name)
	}
	if !matches(t, &monitor.Spec.Selector, service.Labels) {
		t.Errorf("the ServiceMonitor's selector %v does not match the service's labels %v", monitor.Spec.Selector, service.Labels)
	}
}

func TestNetworkPolicyCoversManager(t *testing.T) {
	var policy networkingv1.NetworkPolicy
	parse(t, kubectl(t, "kustomize", "network-policy"), &policy)
	policy.Namespace = system
	if err := cluster.Create(context.Background(), policy.DeepCopy(), client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	pod := managerPod(t)
	if !matches(t, &policy.Spec.PodSelector, pod.Labels) {
		t.Errorf("selector %v does not match the manager's labels %v", policy.Spec.PodSelector, pod.Labels)
	}
	ingress := policy.Spec.Ingress[0]
	if got := portNumber(pod.Spec.Containers[0], *ingress.Ports[0].Port); got != 8443 {
		t.Errorf("opens port %d, want 8443", got)
	}
	// An empty from would allow everybody.
	if len(ingress.From) != 1 || ingress.From[0].NamespaceSelector == nil {
		t.Fatalf("admits %+v, want namespaces by their labels", ingress.From)
	}
	for label, want := range map[string]bool{"enabled": true, "": false} {
		if got := matches(t, ingress.From[0].NamespaceSelector, map[string]string{"metrics": label}); got != want {
			t.Errorf("a namespace labelled metrics: %q is admitted: %t, want %t", label, got, want)
		}
	}
}

// managerPod returns a pod as the installed Deployment would create it.
func managerPod(t *testing.T) *corev1.Pod {
	t.Helper()
	var deployment appsv1.Deployment
	if err := cluster.Get(context.Background(), client.ObjectKey{Namespace: system, Name: "cachewright-controller-manager"}, &deployment); err != nil {
		t.Fatal(err)
	}
	template := deployment.Spec.Template
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Namespace, pod.Name = system, "manager"
	return pod
}

// portNumber resolves the name of a container's port.
func portNumber(container corev1.Container, port intstr.IntOrString) int32 {
	if port.Type == intstr.Int {
		return port.IntVal
	}
	for _, candidate := range container.Ports {
		if candidate.Name == port.StrVal {
			return candidate.ContainerPort
		}
	}
	return 0
}

func matches(t *testing.T, selector *metav1.LabelSelector, set map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(set))
}

func parse(t *testing.T, manifest string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(manifest), into); err != nil {
		t.Fatalf("%v\n%s", err, manifest)
	}
}
