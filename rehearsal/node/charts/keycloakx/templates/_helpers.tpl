{{- define "keycloak.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $release := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $release | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The default of the chart's value `affinity` includes this by its name. */}}
{{- define "keycloak.selectorLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "keycloak.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{ include "keycloak.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | toString | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "keycloak.account" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "keycloak.fullname" .) "default") }}
{{- end }}

{{- /* The variables that Keycloak is configured by, as the chart's values have them; empty ones are left out. */}}
{{- define "keycloak.environment" -}}
{{- $path := .Values.http.relativePath -}}
{{- $of := dict "KC_HTTP_RELATIVE_PATH" (eq $path "/" | ternary $path (trimSuffix "/" $path)) -}}
{{- if eq .Values.cache.stack "default" -}}
{{- $of = merge $of (dict "KC_CACHE" "ispn" "KC_CACHE_STACK" "jdbc-ping") -}}
{{- end -}}
{{- if .Values.proxy.enabled }}{{ $_ := set $of "KC_PROXY_HEADERS" .Values.proxy.mode }}{{ end -}}
{{- if .Values.proxy.http.enabled }}{{ $_ := set $of "KC_HTTP_ENABLED" "true" }}{{ end -}}
{{- if .Values.metrics.enabled }}{{ $_ := set $of "KC_METRICS_ENABLED" "true" }}{{ end -}}
{{- if .Values.health.enabled }}{{ $_ := set $of "KC_HEALTH_ENABLED" "true" }}{{ end -}}
{{- with .Values.database -}}
{{- $of = merge $of (dict "KC_DB" .vendor "KC_DB_URL_HOST" .hostname "KC_DB_URL_PORT" .port) -}}
{{- $of = merge $of (dict "KC_DB_URL_DATABASE" .database "KC_DB_USERNAME" .username) -}}
{{- end -}}
{{- range $name, $value := $of }}
{{- if $value }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}
{{- with .Values.database }}
{{- if .existingSecret }}
- name: KC_DB_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .existingSecretKey | default "password" }}}}
{{- end }}
{{- end }}
{{- end }}
