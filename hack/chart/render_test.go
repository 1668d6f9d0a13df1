// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	release "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const (
	chartPath = "../../charts/cachewright"
	// name and namespace are those of the release in the documentation. With them, objects have the
	// same names as in config/.
	name, namespace = "cachewright", "cachewright-system"
	storesKnown     = "cachewright.io/v1/CacheStore"
	// kubeVersion is the version for which charts are rendered without a cluster.
	kubeVersion = "v1.37.2"
)

// render renders the chart with values in YAML, as for a cluster that knows CacheStores.
func render(values string) (*release.Release, error) {
	return renderFor(name, values, storesKnown)
}

// renderFor renders a release without a cluster.
func renderFor(name, values string, known ...string) (*release.Release, error) {
	chart, err := loader.Load(chartPath)
	if err != nil {
		return nil, err
	}
	of, err := loader.LoadValues(strings.NewReader(values))
	if err != nil {
		return nil, err
	}
	configuration := action.NewConfiguration()
	configuration.SetLogger(slog.DiscardHandler)
	install := action.NewInstall(configuration)
	install.DryRunStrategy, install.APIVersions = action.DryRunClient, known
	install.ReleaseName, install.Namespace = name, namespace
	if install.KubeVersion, err = common.ParseKubeVersion(kubeVersion); err != nil {
		return nil, err
	}
	rendered, err := install.Run(chart, of)
	if err != nil {
		return nil, err
	}
	return rendered.(*release.Release), nil
}

// byValues holds what mustRender returned.
var byValues = map[string]*release.Release{}

func mustRender(t *testing.T, values string) *release.Release {
	t.Helper()
	if byValues[values] == nil {
		var err error
		if byValues[values], err = render(values); err != nil {
			t.Fatalf("%v\n%s", err, values)
		}
	}
	return byValues[values]
}

// all returns the manifests of a release and those of its hooks.
func all(rendered *release.Release) string {
	manifests := rendered.Manifest
	for _, hook := range rendered.Hooks {
		manifests += "\n---\n" + hook.Manifest
	}
	return manifests
}

// objectsOf reads the objects of a stream of manifests.
func objectsOf(t *testing.T, manifests string) (objects []*unstructured.Unstructured) {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(manifests), 4096)
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, manifests)
		}
		if len(object.Object) > 0 {
			objects = append(objects, &object)
		}
	}
}

func TestContradictionsAreRefused(t *testing.T) {
	for values, want := range map[string]string{
		"redis: {existingSecret: mine, password: p}":                               "redis.existingSecret is a Secret of yours",
		"redis: {existingSecret: mine, url: 'redis://r'}":                          "redis.existingSecret is a Secret of yours",
		"redis: {password: p, passwordSecret: {name: s}}":                          "both name the password",
		"redis: {url: 'redis://r', host: r}":                                       "redis.url takes precedence",
		"redis: {enabled: false, host: r}":                                         "redis.host has no effect",
		"redis: {enabled: false, url: 'redis://r'}":                                "redis.url has no effect",
		"redis: {enabled: false, password: p}":                                     "redis.password has no effect",
		"redis: {enabled: false, existingSecret: s}":                               "redis.existingSecret has no effect",
		"redis: {host: r, tls: {caFile: ca.crt}}":                                  "TLS is off",
		"{watchNamespaces: [a], cacheStores: [{name: s, namespace: b, spec: {}}]}": "s is in namespace b, which watchNamespaces does not list",
		"redis: {hots: r}":                                                         "hots",
		"redis: {port: '6379'}":                                                    "port",
		"redis: {url: 'http://r'}":                                                 "url",
		"replicas: -1":                                                             "replicas",
		"watchNamespaces: shop":                                                    "watchNamespaces",
		"watchNamespaces: ['']":                                                    "watchNamespaces",
		"cacheStores: [{name: s, spec: {}}]":                                       "namespace",
		"fullnameOverride: a-name-of-twenty-9-characters-x":                        "fullnameOverride",
		"operator: {onDataLoss: Ignore}":                                           "onDataLoss",
		"operator: {storeCheckInterval: 5}":                                        "storeCheckInterval",
		"operator: {storeCheckInterval: 5 s}":                                      "storeCheckInterval",
		"image: {digest: 'sha256:0'}":                                              "digest",
		"networkPolicy: {ingress: {from: []}}":                                     "from",
	} {
		if _, err := render(values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error about %q", values, err, want)
		}
	}
}

// Without the CRDs the API server would refuse the whole release, in words of its own.
func TestStoresNeedTheirCRDBefore(t *testing.T) {
	const values = "cacheStores: [{name: s, namespace: shop, spec: {addresses: ['r:6379']}}]"
	if _, err := renderFor(name, values); err == nil || !strings.Contains(err.Error(), "does not know CacheStores yet") {
		t.Errorf("got %v", err)
	}
	mustRender(t, values)
}

func TestNamesFollowTheRelease(t *testing.T) {
	for of, want := range map[string]string{
		"cachewright":           "cachewright-controller-manager",
		"my-cachewright":        "my-cachewright-controller-manager",
		"prod":                  "prod-cachewright-controller-manager",
		strings.Repeat("r", 53): strings.Repeat("r", 28) + "-controller-manager",
	} {
		rendered, err := renderFor(of, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range objectsOf(t, rendered.Manifest) {
			if object.GetKind() == "Deployment" && object.GetName() != want {
				t.Errorf("release %s has the Deployment %s, want %s", of, object.GetName(), want)
			}
			if len(object.GetName()) > 63 && object.GetKind() != "CustomResourceDefinition" {
				t.Errorf("release %s: %s %s has a name too long", of, object.GetKind(), object.GetName())
			}
		}
	}
}

func TestNotesSayWhatIsMissing(t *testing.T) {
	for values, want := range map[string]string{
		"":                              "create secret generic cachewright-redis",
		"redis: {host: r.shop}":         "Its Redis is r.shop",
		"redis: {url: 'redis://:pw@r'}": "the one of redis.url",
		"redis: {existingSecret: mine}": "that Secret mine names",
		"redis: {enabled: false}":       "no Redis of its own",
		"watchNamespaces: [shop, bank]": "manages the namespaces shop, bank",
		"crds: {keep: true}":            "keeps the CRDs",
	} {
		notes := mustRender(t, values).Info.Notes
		if !strings.Contains(notes, want) {
			t.Errorf("%s: the notes lack %q:\n%s", values, want, notes)
		}
		if strings.Contains(notes, "pw") {
			t.Errorf("%s: the notes show a password:\n%s", values, notes)
		}
	}
}

func TestLint(t *testing.T) {
	for _, values := range []string{"", `{watchNamespaces: [shop], replicas: 2, podDisruptionBudget: {enabled: true},
		redis: {host: r.shop, password: secret, tls: {enabled: true, caFile: ca.crt}}, networkPolicy: {ingress: {enabled: true}, egress: {enabled: true}},
		metrics: {serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboards: {enabled: true}}}`} {
		of, err := loader.LoadValues(strings.NewReader(values))
		if err != nil {
			t.Fatal(err)
		}
		lint := action.NewLint()
		lint.Strict, lint.Namespace = true, namespace
		if result := lint.Run([]string{chartPath}, of); len(result.Errors) > 0 || result.TotalChartsLinted != 1 {
			t.Errorf("%s: %v", values, errors.Join(result.Errors...))
		}
	}
}
