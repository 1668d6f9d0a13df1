{{/* The beginning of each name. A Service's name has at most 63 characters, and the longest suffix 35. */}}
{{- define "cachewright.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 28 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 28 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels by which the Deployment, the Service and the policies find the pods. They never change, and are those of
config/, so that Helm can take over from it. A namespace has one operator: two would compete for one Lease. */}}
{{- define "cachewright.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/component: manager
{{- end -}}

{{/* The labels of each object. */}}
{{- define "cachewright.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cachewright.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (printf "%s-controller-manager" (include "cachewright.fullname" .)) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "cachewright.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "cachewright.redisSecret" -}}
{{- .Values.redis.existingSecret | default (printf "%s-redis" (include "cachewright.fullname" .)) -}}
{{- end -}}

{{/* Not empty if the chart makes the Secret of Redis. */}}
{{- define "cachewright.ownsRedisSecret" -}}
{{- if and .Values.redis.enabled (or .Values.redis.password .Values.redis.url) -}}true{{- end -}}
{{- end -}}

{{/* Not empty if metrics are served to those alone whom the API server knows. */}}
{{- define "cachewright.securesMetrics" -}}
{{- if and .Values.metrics.enabled .Values.metrics.secure -}}true{{- end -}}
{{- end -}}

{{/* A role of config/: the file "file" there, as "kind" in "namespace" if these are set, with more "rules". */}}
{{- define "cachewright.role" -}}
{{- $role := .root.Files.Get (printf "files/config/%s" .file) | fromYaml -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind | default $role.kind }}
metadata:
  name: {{ include "cachewright.fullname" .root }}-{{ $role.metadata.name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "cachewright.labels" .root | nindent 4 }}
    {{- with $role.metadata.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
rules:
{{ concat $role.rules (.rules | default list) | toYaml }}
{{- end -}}

{{/* Binds the account of the operator to "role". "kind" is that of the role, "name" and "namespace" those of the binding. */}}
{{- define "cachewright.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ include "cachewright.fullname" .root }}-{{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "cachewright.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ include "cachewright.fullname" .root }}-{{ .role }}
subjects:
- kind: ServiceAccount
  name: {{ include "cachewright.serviceAccount" .root }}
  namespace: {{ .root.Release.Namespace }}
{{- end -}}
