{{/* Which role calls which. */}}
{{- define "quintile.calls" -}}
ingestion: [scoring, lifecycle, segmentation, access-control]
scoring: [ingestion, access-control]
lifecycle: [ingestion, scoring, segmentation, access-control]
segmentation: [ingestion, scoring, lifecycle, access-control]
access-control: []
{{- end }}

{{/* The pods of a component, as a peer. Takes (dict "root" $ "component" <component>). */}}
{{- define "quintile.peer" -}}
- podSelector:
    matchLabels:
      {{- include "quintile.selectorLabels" . | nindent 6 }}
{{- end }}

{{/* A rule of egress: to some peers, or to everybody where none is named. Takes (dict "to" <list> "ports" <list> "protocols" <list>). */}}
{{- define "quintile.egress" -}}
- ports:
    {{- $protocols := .protocols | default (list "TCP") }}
    {{- range $port := .ports }}
    {{- range $protocol := $protocols }}
    - port: {{ int $port }}
      protocol: {{ $protocol }}
    {{- end }}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The ports of webhooks, and of mail servers: what their addresses say, or else what is usual. As JSON. Takes the root. */}}
{{- define "quintile.webhookPorts" -}}
{{- $ports := list -}}
{{- range .Values.webhooks -}}
{{- $ports = append $ports (regexReplaceAll "^https://(\\[[^]]*\\]|[^/:\\[]*)(:([0-9]+))?.*$" .url "${3}" | default "443" | atoi) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end }}

{{- define "quintile.mailPorts" -}}
{{- $ports := list -}}
{{- range .Values.mail -}}
{{- $usual := hasPrefix "smtps:" .server | ternary "465" "587" -}}
{{- $ports = append $ports (regexReplaceAll "^smtps?://(\\[[^]]*\\]|[^:\\[]*)(:([0-9]+))?$" .server "${3}" | default $usual | atoi) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end }}

{{/* What leaves the cluster, or the namespace: of those pods that need it. Takes (dict "root" $ "component" <component>). */}}
{{- define "quintile.egressOutside" -}}
{{- $values := .root.Values }}
{{- $policy := $values.networkPolicy }}
{{- if has .component (list "lifecycle" "embedded") }}
{{- with $values.webhooks }}
{{ include "quintile.egress" (dict "to" $policy.webhooks.to "ports" (include "quintile.webhookPorts" $.root | fromJsonArray)) }}
{{- end }}
{{- with $values.mail }}
{{ include "quintile.egress" (dict "to" $policy.mail.to "ports" (include "quintile.mailPorts" $.root | fromJsonArray)) }}
{{- end }}
{{- end }}
{{- with $values.traces.endpoint }}
{{- if ne $.component "migrate" }}
{{ include "quintile.egress" (dict "to" $policy.traces.to "ports" (list (regexReplaceAll "^.*:([0-9]+)$" . "${1}" | atoi))) }}
{{- end }}
{{- end }}
{{- if and (has .component (list "access-control" "embedded")) $policy.issuers.enabled }}
{{ include "quintile.egress" (dict "to" $policy.issuers.to "ports" (list $policy.issuers.port)) }}
{{- end }}
{{- if ne .component "embedded" }}
{{ include "quintile.egress" (dict "to" $policy.database.to "ports" (list $policy.database.port)) }}
{{- end }}
{{- end }}

{{/* All egress of a component. Names are looked up by whoever has somebody to call. Takes (dict "root" $ "component" <component>). */}}
{{- define "quintile.allEgress" -}}
{{- $root := .root }}
{{- $dns := $root.Values.networkPolicy.dns }}
{{- $rules := include "quintile.egressOutside" . | trim }}
{{- if $rules }}
egress:
  {{- include "quintile.egress" (dict "to" $dns.to "ports" (list $dns.port) "protocols" (list "UDP" "TCP")) | nindent 2 }}
  {{- range $called := index (include "quintile.calls" . | fromYaml) .component }}
  {{- $settings := index $root.Values.roles $called }}
  {{- $peer := include "quintile.peer" (dict "root" $root "component" $called) | fromYamlArray }}
  {{- include "quintile.egress" (dict "to" $peer "ports" (list $settings.port)) | nindent 2 }}
  {{- end }}
  {{- $rules | nindent 2 }}
{{- else }}
egress: []
{{- end }}
{{- end }}

{{/* Ingress on a role's port: from the roles that call it, and from clients. Takes (dict "root" $ "role" <role>). */}}
{{- define "quintile.ingress" -}}
{{- $root := .root }}
{{- $role := .role }}
{{- $settings := index $root.Values.roles $role }}
{{- $clients := hasKey $settings "clients" | ternary $settings.clients $root.Values.networkPolicy.clients }}
{{- $from := list }}
{{- if eq $root.Values.mode "production" }}
{{- range $caller, $called := include "quintile.calls" . | fromYaml }}
{{- if has $role $called }}
{{- $from = concat $from (include "quintile.peer" (dict "root" $root "component" $caller) | fromYamlArray) }}
{{- end }}
{{- end }}
{{- end }}
{{- /* A rule that names nobody would let in everybody. */}}
{{- with concat $from ($clients | default list) }}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    - port: {{ int $settings.port }}
      protocol: TCP
{{- end }}
{{- end }}
