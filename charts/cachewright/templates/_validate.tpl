{{/* Refuses values that contradict each other. */}}
{{- define "cachewright.validate" -}}
{{- include "cachewright.validateRedis" . -}}
{{- range .Values.cacheStores -}}
{{- if not ($.Capabilities.APIVersions.Has "cachewright.io/v1/CacheStore") -}}
{{- fail "cacheStores: this cluster does not know CacheStores yet. Install the chart without them, then run helm upgrade with them. Or install the CRDs first, and set crds.install=false. With helm template, pass --api-versions cachewright.io/v1/CacheStore" -}}
{{- end -}}
{{- if and $.Values.watchNamespaces (not (has .namespace $.Values.watchNamespaces)) -}}
{{- fail (printf "cacheStores: %s is in namespace %s, which watchNamespaces does not list" .name .namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "cachewright.validateRedis" -}}
{{- $redis := .Values.redis -}}
{{- if not $redis.enabled -}}
{{- range $key := list "existingSecret" "host" "url" "password" -}}
{{- if get $redis $key -}}
{{- fail (printf "redis.%s has no effect with redis.enabled=false: remove one of them" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $redis.existingSecret (include "cachewright.ownsRedisSecret" .) -}}
{{- fail "redis.existingSecret is a Secret of yours, so the chart cannot write redis.password or redis.url into it: remove one of them" -}}
{{- end -}}
{{- if and $redis.password $redis.passwordSecret.name -}}
{{- fail "redis.password and redis.passwordSecret.name both name the password: remove one of them" -}}
{{- end -}}
{{- if and $redis.url (or $redis.host $redis.password $redis.passwordSecret.name) -}}
{{- fail "redis.url takes precedence over host and password: remove it or them" -}}
{{- end -}}
{{- if and (or $redis.tls.caFile $redis.tls.certFile $redis.tls.keyFile) (not (or $redis.tls.enabled (hasPrefix "rediss://" $redis.url) $redis.existingSecret)) -}}
{{- fail "redis.tls has files, but TLS is off: set redis.tls.enabled=true" -}}
{{- end -}}
{{- end -}}
