{{- define "fullname" -}}
{{- contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- end }}

{{- /* A cluster may have several releases of a name, so what is cluster-wide has the namespace in its name. */}}
{{- define "clusterName" -}}
{{ include "fullname" . }}-{{ .Release.Namespace }}
{{- end }}

{{- define "selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}-{{ .Release.Namespace }}
{{- end }}

{{- define "labels" -}}
{{ include "selector" . }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "image" -}}
{{- with .Values.image -}}
{{- $name := printf "%s/%s" (.registry | default "docker.io") (.repository | default "traefik") -}}
{{- empty .digest | ternary (print $name ":" (.tag | default $.Chart.AppVersion)) (print $name "@" .digest) }}
{{- end -}}
{{- end }}

{{- /* Go's limit of memory: a part of the container's, which this chart takes in Mi only. */}}
{{- define "goMemoryLimit" -}}
{{- $limit := .Values.resources.limits.memory -}}
{{- if not (hasSuffix "Mi" $limit) }}{{ fail (printf "resources.limits.memory: %s: write it in Mi" $limit) }}{{ end -}}
{{- trimSuffix "Mi" $limit | float64 | mulf .Values.deployment.goMemLimitPercentage | floor | int64 -}}MiB
{{- end }}
