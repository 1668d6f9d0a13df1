// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// sample sets one value of the chart, with others that it needs, and names what the value brings
// about.
type sample struct {
	// values are in YAML. Those in without lack the one to try.
	values, without string
	// want is in the manifests with it, and not in those without it. Empty: they differ.
	want string
}

// samples has one for each value of the chart.
var samples = map[string]sample{
	"fullnameOverride":                         {values: "fullnameOverride: cw", want: "name: cw-controller-manager"},
	"commonLabels":                             {values: "commonLabels: {team: platform}", want: "team: platform"},
	"image.repository":                         {values: "image: {repository: registry.example.com/cw}", want: "image: registry.example.com/cw:v"},
	"image.tag":                                {values: "image: {tag: dev}", want: "cachewright:dev"},
	"image.digest":                             {values: "image: {digest: 'sha256:" + digest + "'}", want: "cachewright@sha256:" + digest},
	"image.pullPolicy":                         {values: "image: {pullPolicy: Always}", want: "imagePullPolicy: Always"},
	"imagePullSecrets":                         {values: "imagePullSecrets: [{name: pull}]", want: "- name: pull"},
	"watchNamespaces":                          {values: "watchNamespaces: [default, kube-public]", want: "- --watch-namespaces=default,kube-public"},
	"crds.install":                             {values: "crds: {install: false}", want: ""},
	"crds.keep":                                {values: "crds: {keep: false}", want: ""},
	"redis.enabled":                            {values: "redis: {enabled: false}", want: "- --default-store=false"},
	"redis.existingSecret":                     {values: "redis: {existingSecret: mine}", want: "name: mine"},
	"redis.host":                               {values: "redis: {host: r.shop}", want: `value: "r.shop"`},
	"redis.port":                               {values: "redis: {port: 6380}", want: `value: "6380"`},
	"redis.username":                           {values: "redis: {username: cw}", want: `value: "cw"`},
	"redis.password":                           {values: "redis: {password: secret}", want: `REDIS_PASSWORD: "secret"`},
	"redis.passwordSecret.name":                {values: "redis: {passwordSecret: {name: auth}}", want: "name: auth"},
	"redis.passwordSecret.key":                 {values: "redis: {passwordSecret: {name: auth, key: redis-password}}", without: "redis: {passwordSecret: {name: auth}}", want: "key: redis-password"},
	"redis.db":                                 {values: "redis: {db: 0}", want: "- name: REDIS_DB"},
	"redis.url":                                {values: "redis: {url: 'rediss://r'}", want: `REDIS_URL: "rediss://r"`},
	"redis.cluster":                            {values: "redis: {cluster: true}", want: "- name: REDIS_CLUSTER"},
	"redis.tls.enabled":                        {values: "redis: {tls: {enabled: true}}", want: "- name: REDIS_TLS"},
	"redis.tls.serverName":                     {values: "redis: {tls: {serverName: r.example.com}}", want: `value: "r.example.com"`},
	"redis.tls.existingSecret":                 {values: "redis: {tls: {existingSecret: certificates}}", want: "secretName: certificates"},
	"redis.tls.caFile":                         {values: "redis: {tls: {enabled: true, caFile: ca.crt}}", want: `value: "/etc/cachewright/redis-tls/ca.crt"`},
	"redis.tls.certFile":                       {values: "redis: {tls: {enabled: true, certFile: tls.crt}}", want: `value: "/etc/cachewright/redis-tls/tls.crt"`},
	"redis.tls.keyFile":                        {values: "redis: {tls: {enabled: true, keyFile: tls.key}}", want: `value: "/etc/cachewright/redis-tls/tls.key"`},
	"cacheStores":                              {values: "cacheStores: [{name: main, namespace: default, labels: {a: b}, annotations: {c: d}, spec: {addresses: ['r:6379']}}]", want: "- r:6379"},
	"operator.onDataLoss":                      {values: "operator: {onDataLoss: Replay}", want: "- --on-data-loss=Replay"},
	"operator.allowedStoreAddresses":           {values: "operator: {allowedStoreAddresses: [10.0.0.0/8, r.shop]}", want: "- --allowed-store-addresses=10.0.0.0/8,r.shop"},
	"operator.clusterID":                       {values: "operator: {clusterID: berlin}", want: "- --cluster-id=berlin"},
	"operator.storeCheckInterval":              {values: "operator: {storeCheckInterval: 1m30s}", want: "- --store-check-interval=1m30s"},
	"operator.statsInterval":                   {values: "operator: {statsInterval: 500ms}", want: "- --stats-interval=500ms"},
	"operator.invalidationHistoryLimit":        {values: "operator: {invalidationHistoryLimit: 0}", want: "- --invalidation-history-limit=0"},
	"operator.logLevel":                        {values: "operator: {logLevel: debug}", want: "- --zap-log-level=debug"},
	"extraArgs":                                {values: "extraArgs: [--enable-http2]", want: "- --enable-http2"},
	"extraEnv":                                 {values: "extraEnv: [{name: GOGC, value: '25'}]", want: "- name: GOGC"},
	"extraEnvFrom":                             {values: "extraEnvFrom: [{configMapRef: {name: more, optional: true}}]", want: "name: more"},
	"extraVolumes":                             {values: "extraVolumes: [{name: more, emptyDir: {}}]", want: "name: more"},
	"extraVolumeMounts":                        {values: "{extraVolumeMounts: [{name: more, mountPath: /more}], extraVolumes: [{name: more, emptyDir: {}}]}", without: "extraVolumes: [{name: more, emptyDir: {}}]", want: "mountPath: /more"},
	"replicas":                                 {values: "replicas: 3", want: "replicas: 3"},
	"podDisruptionBudget.enabled":              {values: "podDisruptionBudget: {enabled: true}", want: "maxUnavailable: 1"},
	"podDisruptionBudget.minAvailable":         {values: "podDisruptionBudget: {enabled: true, minAvailable: 2}", without: "podDisruptionBudget: {enabled: true}", want: "minAvailable: 2"},
	"podDisruptionBudget.maxUnavailable":       {values: "podDisruptionBudget: {enabled: true, maxUnavailable: 50%}", without: "podDisruptionBudget: {enabled: true}", want: "maxUnavailable: 50%"},
	"uninstall.releaseFinalizers":              {values: "uninstall: {releaseFinalizers: false}", want: ""},
	"resources":                                {values: "resources: {limits: {memory: 1Gi}}", want: "memory: 1Gi"},
	"priorityClassName":                        {values: "priorityClassName: system-cluster-critical", want: "priorityClassName: system-cluster-critical"},
	"nodeSelector":                             {values: "nodeSelector: {disk: ssd}", want: "disk: ssd"},
	"tolerations":                              {values: "tolerations: [{key: dedicated, operator: Exists}]", want: "- key: dedicated"},
	"affinity":                                 {values: "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, labelSelector: {}}]}}", want: "topologyKey: zone"},
	"topologySpreadConstraints":                {values: "topologySpreadConstraints: [{maxSkew: 1, topologyKey: rack, whenUnsatisfiable: DoNotSchedule, labelSelector: {}}]", want: "topologyKey: rack"},
	"podAnnotations":                           {values: "podAnnotations: {note: 'yes'}", want: `note: "yes"`},
	"podLabels":                                {values: "podLabels: {tier: infra}", want: "tier: infra"},
	"podSecurityContext":                       {values: "podSecurityContext: {runAsUser: 1234}", want: "runAsUser: 1234"},
	"securityContext":                          {values: "securityContext: {runAsGroup: 1234}", want: "runAsGroup: 1234"},
	"terminationGracePeriodSeconds":            {values: "terminationGracePeriodSeconds: 60", want: "terminationGracePeriodSeconds: 60"},
	"serviceAccount.create":                    {values: "serviceAccount: {create: false}", want: "serviceAccountName: default"},
	"serviceAccount.name":                      {values: "serviceAccount: {name: own}", want: "serviceAccountName: own"},
	"serviceAccount.annotations":               {values: "serviceAccount: {annotations: {role: arn}}", want: "role: arn"},
	"rbac.create":                              {values: "rbac: {create: false}", want: ""},
	"rbac.people":                              {values: "rbac: {people: false}", want: ""},
	"metrics.enabled":                          {values: "metrics: {enabled: false}", want: "- --metrics-bind-address=0"},
	"metrics.port":                             {values: "metrics: {port: 9443}", want: "- --metrics-bind-address=:9443"},
	"metrics.secure":                           {values: "metrics: {secure: false}", want: "- --metrics-secure=false"},
	"metrics.certificateSecret":                {values: "metrics: {certificateSecret: tls}", want: "- --metrics-cert-dir=/etc/cachewright/metrics-tls"},
	"metrics.readers":                          {values: "metrics: {readers: [{namespace: monitoring, name: prometheus}]}", want: "namespace: monitoring"},
	"metrics.service.annotations":              {values: "metrics: {service: {annotations: {scrape: 'true'}}}", want: `scrape: "true"`},
	"metrics.serviceMonitor.enabled":           {values: "metrics: {serviceMonitor: {enabled: true}}", want: "kind: ServiceMonitor"},
	"metrics.serviceMonitor.labels":            {values: "metrics: {serviceMonitor: {enabled: true, labels: {release: stack}}}", want: "release: stack"},
	"metrics.serviceMonitor.interval":          {values: "metrics: {serviceMonitor: {enabled: true, interval: 15s}}", want: "interval: 15s"},
	"metrics.serviceMonitor.scrapeTimeout":     {values: "metrics: {serviceMonitor: {enabled: true, scrapeTimeout: 5s}}", want: "scrapeTimeout: 5s"},
	"metrics.serviceMonitor.tlsConfig":         {values: "metrics: {serviceMonitor: {enabled: true, tlsConfig: {serverName: cw}}}", want: "serverName: cw"},
	"metrics.serviceMonitor.metricRelabelings": {values: "metrics: {serviceMonitor: {enabled: true, metricRelabelings: [{action: labeldrop, regex: pod}]}}", want: "- action: labeldrop"},
	"metrics.prometheusRule.enabled":           {values: "metrics: {prometheusRule: {enabled: true}}", want: "- alert: CachewrightOperatorDown"},
	"metrics.prometheusRule.labels":            {values: "metrics: {prometheusRule: {enabled: true, labels: {rules: ours}}}", want: "rules: ours"},
	"metrics.dashboards.enabled":               {values: "metrics: {dashboards: {enabled: true}}", want: `grafana_dashboard: "1"`},
	"metrics.dashboards.namespace":             {values: "metrics: {dashboards: {enabled: true, namespace: default}}", want: "namespace: default"},
	"metrics.dashboards.labels":                {values: "metrics: {dashboards: {enabled: true, labels: {board: 'yes'}}}", want: `board: "yes"`},
	"metrics.dashboards.annotations":           {values: "metrics: {dashboards: {enabled: true, annotations: {folder: Caches}}}", want: "folder: Caches"},
	"networkPolicy.ingress.enabled":            {values: "networkPolicy: {ingress: {enabled: true}}", want: "metrics: enabled"},
	"networkPolicy.ingress.from":               {values: "networkPolicy: {ingress: {enabled: true, from: [{podSelector: {matchLabels: {app: prometheus}}}]}}", want: "app: prometheus"},
	"networkPolicy.egress.enabled":             {values: "networkPolicy: {egress: {enabled: true}}", want: "- Egress"},
	"networkPolicy.egress.apiServerPorts":      {values: "networkPolicy: {egress: {enabled: true, apiServerPorts: [8888]}}", want: "- port: 8888"},
	"networkPolicy.egress.apiServerTo":         {values: "networkPolicy: {egress: {enabled: true, apiServerTo: [{ipBlock: {cidr: 10.1.0.1/32}}]}}", want: "cidr: 10.1.0.1/32"},
	"networkPolicy.egress.redisTo":             {values: "networkPolicy: {egress: {enabled: true, redisTo: [{ipBlock: {cidr: 10.2.0.0/16}}]}}", want: "cidr: 10.2.0.0/16"},
	"networkPolicy.egress.redisPorts":          {values: "networkPolicy: {egress: {enabled: true, redisPorts: [7000]}}", want: "- port: 7000"},
}

// digest is one of an image.
var digest = strings.Repeat("0123456789abcdef", 4)

// Each value changes what it says. A value that takes something away changes the manifests, too.
func TestEachValueHasItsEffect(t *testing.T) {
	for name, s := range samples {
		base, with := all(mustRender(t, s.without)), all(mustRender(t, s.values))
		switch {
		case s.want == "" && with == base:
			t.Errorf("%s changes nothing", name)
		case !strings.Contains(with, s.want):
			t.Errorf("%s: the manifests lack %q:\n%s", name, s.want, with)
		case s.want != "" && strings.Contains(base, s.want):
			t.Errorf("%s: the manifests have %q also without it", name, s.want)
		}
	}
	for what, absent := range map[string]string{
		"crds: {install: false}": "kind: CustomResourceDefinition", "crds: {keep: false}": "resource-policy: keep",
		"rbac: {create: false}": "manager-role", "rbac: {people: false}": "aggregate-to-view", "metrics: {enabled: false}": "metrics-service",
		"watchNamespaces: [default]": "-cluster-identity-role", "serviceAccount: {create: false}": "kind: ServiceAccount\nmetadata",
	} {
		if strings.Contains(mustRender(t, what).Manifest, absent) {
			t.Errorf("with %s there is still %q", what, absent)
		}
	}
}

func TestEachValueHasASampleAndASchema(t *testing.T) {
	var values map[string]any
	readYAML(t, chartPath+"/values.yaml", &values)
	var schema map[string]any
	readYAML(t, chartPath+"/values.schema.json", &schema)
	delete(schema["properties"].(map[string]any), "global") // of the chart around this one
	for _, path := range slices.Sorted(maps.Keys(samples)) {
		if !takes(values, path) {
			t.Errorf("values.yaml has no %s", path)
		}
	}
	wantSchema(t, "", values, schema)
}

// takes says whether values have a path.
func takes(values map[string]any, path string) bool {
	first, rest, deeper := strings.Cut(path, ".")
	value, found := values[first]
	if inner, ok := value.(map[string]any); deeper && ok {
		return takes(inner, rest)
	}
	return found && !deeper
}

// wantSchema compares the values below a path with their schema. Each value that is no section has
// a sample.
func wantSchema(t *testing.T, path string, values, schema map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	if open, said := schema["additionalProperties"].(bool); !said || open {
		t.Errorf("the schema takes any key in %q", path)
	}
	if missing, wanted := slices.Sorted(maps.Keys(properties)), slices.Sorted(maps.Keys(values)); !slices.Equal(missing, wanted) {
		t.Errorf("the schema of %q has the keys %q, want %q", path, missing, wanted)
	}
	for key, value := range values {
		name := strings.TrimPrefix(path+"."+key, ".")
		if _, sampled := samples[name]; sampled {
			continue
		}
		section, isSection := value.(map[string]any)
		inner, _ := properties[key].(map[string]any)
		if !isSection || inner == nil {
			t.Errorf("value %s has no sample", name)
			continue
		}
		wantSchema(t, name, section, inner)
	}
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.YAMLToJSON(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}
