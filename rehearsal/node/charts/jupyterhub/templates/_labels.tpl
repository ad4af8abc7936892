{{- /* What selects the pods of a component: `include "selector" (list $ "hub")`. */}}
{{- define "selector" -}}
{{- $root := index . 0 -}}
component: {{ index . 1 }}
app: {{ $root.Chart.Name }}
release: {{ $root.Release.Name }}
{{- end }}

{{- /* The same, with the labels that replace them one day. Pods have both. */}}
{{- define "podLabels" -}}
{{- $root := index . 0 -}}
{{ include "selector" . }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end }}

{{- /* The labels of an object of a component. */}}
{{- define "labels" -}}
{{- $root := index . 0 -}}
{{- $chart := printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_") -}}
{{ include "podLabels" . }}
chart: {{ $chart }}
heritage: {{ $root.Release.Service }}
helm.sh/chart: {{ $chart }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end }}
