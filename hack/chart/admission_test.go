// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"context"
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// warnings are what the API server warns of.
type warnings []string

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	*w = append(*w, text)
}

// The API server takes the objects of each sample, knows all their fields, and warns of nothing.
// The namespace admits only restricted pods.
func TestTheAPIServerTakesEachSample(t *testing.T) {
	p := newCluster(t)
	p.restricted(t, namespace)
	p.kubectl(t, "apply", "--server-side", "-f", "../../config/crd/bases")
	p.kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	var said warnings
	strict := strictClient(t, p, &said)
	tried := map[string]bool{}
	everything := map[string]sample{"no values": {}}
	for name, s := range samples {
		everything[name] = s
	}
	for name, s := range everything {
		for _, object := range objectsOf(t, all(mustRender(t, s.values))) {
			for _, object := range append([]*unstructured.Unstructured{object}, podOf(t, object)...) {
				text, err := json.Marshal(object)
				if err != nil {
					t.Fatal(err)
				}
				if tried[string(text)] {
					continue
				}
				tried[string(text)] = true
				err = strict.Create(t.Context(), object, client.DryRunAll)
				isCRD := apierrors.IsAlreadyExists(err) && object.GetKind() == "CustomResourceDefinition"
				if err != nil && !isCRD {
					t.Errorf("%s: %s %s: %v\n%s", name, object.GetKind(), object.GetName(), err, text)
				}
				if len(said) > 0 {
					t.Errorf("%s: %s %s: %q", name, object.GetKind(), object.GetName(), said)
					said = nil
				}
			}
		}
	}
	if len(tried) < len(samples) {
		t.Errorf("it tried %d objects only", len(tried))
	}
	loose := podOf(t, deploymentIn(t, mustRender(t, "securityContext: {allowPrivilegeEscalation: true}").Manifest))
	if err := strict.Create(t.Context(), loose[0], client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("a pod that may escalate privileges: got %v, want it refused, else this test tries nothing", err)
	}
}

// strictClient refuses unknown fields, and records warnings.
func strictClient(t *testing.T, p *plane, said *warnings) client.Client {
	t.Helper()
	config := rest.CopyConfig(p.environment.Config)
	config.WarningHandlerWithContext = said
	config.QPS = -1
	plain, err := client.New(config, client.Options{Scheme: p.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return client.WithFieldValidation(plain, metav1.FieldValidationStrict)
}

func deploymentIn(t *testing.T, manifests string) *unstructured.Unstructured {
	t.Helper()
	for _, object := range objectsOf(t, manifests) {
		if object.GetKind() == "Deployment" {
			return object
		}
	}
	t.Fatal("there is no Deployment")
	return nil
}

// podOf returns a pod of a Deployment or a Job, as its controller would create it.
func podOf(t *testing.T, object *unstructured.Unstructured) []*unstructured.Unstructured {
	t.Helper()
	if object.GetKind() != "Deployment" && object.GetKind() != "Job" {
		return nil
	}
	var of struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &of); err != nil {
		t.Fatal(err)
	}
	template := of.Spec.Template
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.APIVersion, pod.Kind = "v1", "Pod"
	pod.Namespace, pod.Name = object.GetNamespace(), object.GetName()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(pod)
	if err != nil {
		t.Fatal(err)
	}
	return []*unstructured.Unstructured{{Object: content}}
}
