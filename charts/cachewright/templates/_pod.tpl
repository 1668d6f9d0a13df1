{{/* The command line of the operator. */}}
{{- define "cachewright.args" -}}
- --metrics-bind-address={{ ternary (printf ":%d" (int .Values.metrics.port)) "0" .Values.metrics.enabled }}
- --leader-elect
- --health-probe-bind-address=:8081
{{- if and .Values.metrics.enabled (not .Values.metrics.secure) }}
- --metrics-secure=false
{{- end }}
{{- if and (include "cachewright.securesMetrics" .) .Values.metrics.certificateSecret }}
- --metrics-cert-dir=/etc/cachewright/metrics-tls
{{- end }}
{{- with .Values.watchNamespaces }}
- --watch-namespaces={{ join "," . }}
{{- end }}
{{- if not .Values.redis.enabled }}
- --default-store=false
{{- end }}
{{- include "cachewright.settings" . }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cachewright.settings" -}}
{{- with .Values.operator }}
{{- if ne .onDataLoss "InvalidateAll" }}
- --on-data-loss={{ .onDataLoss }}
{{- end }}
{{- with .allowedStoreAddresses }}
- --allowed-store-addresses={{ join "," . }}
{{- end }}
{{- with .clusterID }}
- --cluster-id={{ . }}
{{- end }}
{{- with .storeCheckInterval }}
- --store-check-interval={{ . }}
{{- end }}
{{- with .statsInterval }}
- --stats-interval={{ . }}
{{- end }}
{{- if not (kindIs "invalid" .invalidationHistoryLimit) }}
- --invalidation-history-limit={{ int .invalidationHistoryLimit }}
{{- end }}
{{- with .logLevel }}
- --zap-log-level={{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The variables of Redis that are no secrets, and references to those that are. */}}
{{- define "cachewright.env" -}}
{{- if .Values.redis.enabled }}
{{- with .Values.redis }}
{{- with .host }}
- name: REDIS_HOST
  value: {{ . | quote }}
{{- end }}
{{- if not (kindIs "invalid" .port) }}
- name: REDIS_PORT
  value: {{ int .port | quote }}
{{- end }}
{{- with .username }}
- name: REDIS_USERNAME
  value: {{ . | quote }}
{{- end }}
{{- if .passwordSecret.name }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .passwordSecret.name }}
      key: {{ .passwordSecret.key }}
{{- end }}
{{- if not (kindIs "invalid" .db) }}
- name: REDIS_DB
  value: {{ int .db | quote }}
{{- end }}
{{- if .cluster }}
- name: REDIS_CLUSTER
  value: "true"
{{- end }}
{{- include "cachewright.envTLS" .tls }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cachewright.envTLS" -}}
{{- if .enabled }}
- name: REDIS_TLS
  value: "true"
{{- end }}
{{- range $variable, $file := dict "REDIS_TLS_CA_FILE" .caFile "REDIS_TLS_CERT_FILE" .certFile "REDIS_TLS_KEY_FILE" .keyFile }}
{{- with $file }}
- name: {{ $variable }}
  value: {{ printf "/etc/cachewright/redis-tls/%s" . | quote }}
{{- end }}
{{- end }}
{{- with .serverName }}
- name: REDIS_TLS_SERVER_NAME
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "cachewright.envFrom" -}}
{{- if .Values.redis.enabled }}
- secretRef:
    name: {{ include "cachewright.redisSecret" . }}
    {{- if not (or .Values.redis.existingSecret (include "cachewright.ownsRedisSecret" .)) }}
    optional: true
    {{- end }}
{{- end }}
{{- with .Values.extraEnvFrom }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cachewright.volumeMounts" -}}
{{- if .Values.redis.enabled }}
- name: redis-tls
  mountPath: /etc/cachewright/redis-tls
  readOnly: true
{{- end }}
{{- if and (include "cachewright.securesMetrics" .) .Values.metrics.certificateSecret }}
- name: metrics-tls
  mountPath: /etc/cachewright/metrics-tls
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cachewright.volumes" -}}
{{- if .Values.redis.enabled }}
- name: redis-tls
  secret:
    secretName: {{ .Values.redis.tls.existingSecret | default (printf "%s-redis-tls" (include "cachewright.fullname" .)) }}
    {{- if not .Values.redis.tls.existingSecret }}
    optional: true
    {{- end }}
{{- end }}
{{- if and (include "cachewright.securesMetrics" .) .Values.metrics.certificateSecret }}
- name: metrics-tls
  secret:
    secretName: {{ .Values.metrics.certificateSecret }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What the pods of the Deployment and of the Job have in common. */}}
{{- define "cachewright.podSpec" -}}
serviceAccountName: {{ include "cachewright.serviceAccount" . }}
# Otherwise a Service called redis would set REDIS_PORT=tcp://… in the environment.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
