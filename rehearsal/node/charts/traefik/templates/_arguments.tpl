{{- /* Traefik's command line, of the values of `ports`, `providers`, `metrics`, `log`, `api` and `global`. */}}
{{- define "arguments" -}}
{{- with .Values -}}
{{- if not .global.checkNewVersion }}
- --global.checkNewVersion=false
{{- end }}
{{- if .global.sendAnonymousUsage }}
- --global.sendAnonymousUsage
{{- end }}
{{- if .api.dashboard }}
- --api.dashboard=true
{{- end }}
- --ping=true
- --log.level={{ upper .log.level }}
{{- with .metrics.prometheus }}
- --metrics.prometheus=true
- --metrics.prometheus.entrypoint={{ .entryPoint }}
{{- end }}
{{- with .providers.kubernetesIngress }}
- --providers.kubernetesingress
- --providers.kubernetesingress.allowEmptyServices={{ .allowEmptyServices }}
{{- if .publishedService.enabled }}
- --providers.kubernetesingress.ingressendpoint.publishedservice={{ $.Release.Namespace }}/{{ include "fullname" $ }}
{{- end }}
{{- with .ingressClass }}
- --providers.kubernetesingress.ingressClass={{ . }}
{{- end }}
{{- end }}
{{- range $name, $port := .ports }}
{{- include "entryPoint" (dict "name" $name "port" $port "ports" $.Values.ports) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "entryPoint" -}}
{{- $at := printf "--entryPoints.%s" .name -}}
{{- $ports := .ports -}}
{{- with .port }}
- {{ $at }}.address=:{{ .port }}/{{ lower .protocol }}
{{- with ((.http).redirections).entryPoint }}
- {{ $at }}.http.redirections.entryPoint.to=:{{ (index $ports .to).exposedPort }}
{{- with .scheme }}
- {{ $at }}.http.redirections.entryPoint.scheme={{ . }}
{{- end }}
{{- end }}
{{- if ((.http).tls).enabled }}
- {{ $at }}.http.tls=true
{{- end }}
{{- range $name, $time := (.transport).respondingTimeouts }}
{{- if not (kindIs "invalid" $time) }}
- {{ $at }}.transport.respondingTimeouts.{{ $name }}={{ $time }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
