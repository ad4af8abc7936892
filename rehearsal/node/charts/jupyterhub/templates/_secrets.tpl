{{- /* A value that is made once, and then kept in the Secret `hub`: 64 hex digits. */}}
{{- define "kept" -}}
{{- $data := (lookup "v1" "Secret" (index . 0).Release.Namespace "hub").data | default dict -}}
{{- with get $data (index . 1) -}}
{{ b64dec . }}
{{- else -}}
{{ randAlphaNum 64 | sha256sum }}
{{- end -}}
{{- end }}

{{- /* The token between hub and proxy. */}}
{{- define "token" -}}
{{ include "kept" (list . "hub.config.ConfigurableHTTPProxy.auth_token") }}
{{- end }}
