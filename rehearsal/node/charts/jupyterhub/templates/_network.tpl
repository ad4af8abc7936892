{{- /* A rule that lets pods with a label in: `include "labelled" (list POLICY "hub" "http")`. */}}
{{- define "labelled" -}}
{{- $label := dict "matchLabels" (dict (printf "hub.jupyter.org/network-access-%s" (index . 1)) "true") -}}
{{- $from := list (dict "podSelector" $label) -}}
{{- if eq (index . 0).interNamespaceAccessLabels "accept" -}}
{{- $everywhere := dict "matchLabels" dict -}}
{{- $from = list (dict "podSelector" $label "namespaceSelector" $everywhere) (dict "namespaceSelector" $label) -}}
{{- end -}}
- {{ dict "from" $from "ports" (list (dict "port" (index . 2))) | toJson }}
{{- end }}

{{- /* A rule that lets traffic out to a component in this namespace: `include "toComponent" (list $ "proxy" 8001)`. */}}
{{- define "toComponent" -}}
{{- $selector := dict "matchLabels" (include "selector" (list (index . 0) (index . 1)) | fromYaml) -}}
{{- $ports := list -}}
{{- range rest (rest .) }}{{ $ports = append $ports (dict "port" .) }}{{ end -}}
- {{ dict "to" (list (dict "podSelector" $selector)) "ports" $ports | toJson }}
{{- end }}

{{- /* The ports that are open to everybody. */}}
{{- define "openPorts" -}}
{{- $ports := list -}}
{{- range .allowedIngressPorts }}{{ $ports = append $ports (dict "port" .) }}{{ end -}}
{{- with $ports }}
- {{ dict "ports" . | toJson }}
{{- end }}
{{- end }}

{{- /* The rules in a policy's own values. */}}
{{- define "ownRules" -}}
{{- range . }}
- {{ toJson . }}
{{- end }}
{{- end }}

{{- /* The rules that a policy's `egressAllowRules` turn on, and its own: `include "egressRules" (list $ POLICY)`. */}}
{{- define "egressRules" -}}
{{- $allowed := (index . 1).egressAllowRules -}}
{{- $private := list "10.0.0.0/8" "172.16.0.0/12" "192.168.0.0/16" -}}
{{- $metadata := printf "%s/32" (index . 0).Values.singleuser.cloudMetadata.ip -}}
{{- $dns := list -}}
{{- if $allowed.dnsPortsCloudMetadataServer }}{{ $dns = append $dns (dict "ipBlock" (dict "cidr" $metadata)) }}{{ end -}}
{{- if $allowed.dnsPortsKubeSystemNamespace -}}
{{- $system := dict "matchLabels" (dict "kubernetes.io/metadata.name" "kube-system") -}}
{{- $dns = append $dns (dict "namespaceSelector" $system) -}}
{{- end -}}
{{- if $allowed.dnsPortsPrivateIPs -}}
{{- range $private }}{{ $dns = append $dns (dict "ipBlock" (dict "cidr" .)) }}{{ end -}}
{{- end -}}
{{- with $dns }}
- to: {{ toJson . }}
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end }}
{{- if $allowed.nonPrivateIPs }}
- to: [{ipBlock: {cidr: 0.0.0.0/0, except: {{ append $private $metadata | toJson }}}}]
{{- end }}
{{- if $allowed.privateIPs }}
- to:
  {{- range $private }}
  - ipBlock: {cidr: {{ . }}}
  {{- end }}
{{- end }}
{{- if $allowed.cloudMetadataServer }}
- to: [{ipBlock: {cidr: {{ $metadata }}}}]
{{- end }}
{{- include "ownRules" (index . 1).egress }}
{{- end }}
