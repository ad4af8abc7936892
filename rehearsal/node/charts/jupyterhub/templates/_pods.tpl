{{- /* The pull secrets of a pod: those of its image and of all pods, each a name or an object with one. */}}
{{- define "pullSecrets" -}}
{{- $found := list -}}
{{- range concat (index . 1).pullSecrets (index . 0).Values.imagePullSecrets | uniq -}}
{{- $found = append $found (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- with $found -}}
imagePullSecrets: {{ toJson . }}
{{- end -}}
{{- end }}

{{- /* One of the two probes of a container: `include "probe" (list .Values.hub.livenessProbe PATH)`. */}}
{{- define "probe" -}}
{{- $action := dict "path" (index . 1) "port" "http" -}}
{{ merge (dict "httpGet" $action) (omit (index . 0) "enabled") | toJson }}
{{- end }}

{{- /* Environment variables: a list, or a mapping from names to texts or to the rest of the variable. */}}
{{- define "environment" -}}
{{- $variables := kindIs "slice" . | ternary . list -}}
{{- if kindIs "map" . -}}
{{- range $name, $value := . -}}
{{- $rest := kindIs "map" $value | ternary $value (dict "value" $value) -}}
{{- $variables = append $variables (merge (dict "name" $name) $rest) -}}
{{- end -}}
{{- end -}}
{{ toYaml $variables }}
{{- end }}

{{- /* The disruption budget of a component: `include "budget" (list $ "hub" .Values.hub.pdb)`. */}}
{{- define "budget" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}{{- $budget := index . 2 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $component }}
  labels: {{- include "labels" (list $root $component) | nindent 4 }}
spec:
  {{- range $key := list "maxUnavailable" "minAvailable" }}
  {{- if not (kindIs "invalid" (get $budget $key)) }}
  {{ $key }}: {{ get $budget $key }}
  {{- end }}
  {{- end }}
  selector:
    matchLabels: {{- include "selector" (list $root $component) | nindent 6 }}
{{- end }}
