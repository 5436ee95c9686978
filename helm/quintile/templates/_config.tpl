{{/* What the tables of webhooks and of senders of e-mails have in common. */}}
{{- define "quintile.endpoint" -}}
name = {{ .name | quote }}
{{- with .tenant }}
tenant = {{ . | quote }}
{{- end }}
{{- with .retryAfterSeconds }}
retry_after_seconds = {{ int . }}
{{- end }}
{{- end }}

{{/* The name of the file with an endpoint's secret: there may be one of that name for all tenants, and one for each. */}}
{{- define "quintile.endpointFile" -}}
{{ .name }}{{ with .tenant }}@{{ . }}{{ end }}
{{- end }}

{{/* Whether the two secrets come from Secrets: in the mode embedded the first start makes them, unless it is told otherwise. */}}
{{- define "quintile.hasSecrets" -}}
{{ if or (eq .Values.mode "production") .Values.embedded.existingSecrets }}true{{ end }}
{{- end }}

{{/*
quintile.toml: the same for every role and for the migration. The role access-control has the key `access`.
In the mode embedded nobody is a peer, and the data are in a folder of their own: the volume's own one is readable by the group of the pod.
*/}}
{{- define "quintile.config" -}}
{{- $isEmbedded := eq .Values.mode "embedded" -}}
data_dir = {{ ternary "/var/lib/quintile/data" "/var/lib/quintile" $isEmbedded | quote }}

[listen]
host = "0.0.0.0"
{{- range $role, $settings := .Values.roles }}
{{ $role | trimSuffix "-control" }} = {{ int $settings.port }}
{{- end }}
{{- if not $isEmbedded }}

[peers]
{{- $scheme := ternary "https" "http" .Values.tls.enabled }}
{{- range $role, $settings := .Values.roles }}
{{ $role | trimSuffix "-control" }} = "{{ $scheme }}://{{ include "quintile.name" $ }}-{{ $role }}:{{ int $settings.port }}"
{{- end }}
{{- end }}
{{- if include "quintile.hasSecrets" . }}

[secrets]
bootstrap_file = "/etc/quintile/secrets/bootstrap.secret"
master_key_file = "/etc/quintile/secrets/master.key"
{{- end }}

[server]
drain_seconds = {{ int .Values.drainSeconds }}
{{- if .Values.tls.enabled }}

[server.tls]
certificate_file = "/etc/quintile/tls/certificate.pem"
key_file = "/etc/quintile/tls/key.pem"
authority_file = "/etc/quintile/tls/authority.pem"
require_client_certificate = {{ .Values.tls.requireClientCertificate }}
{{- end }}

[log]
filter = {{ .Values.log.filter | quote }}
json = {{ .Values.log.json }}
{{- if or .Values.metrics.enabled .Values.traces.endpoint }}

[telemetry]
{{- if .Values.metrics.enabled }}
metrics_address = "0.0.0.0:{{ int .Values.metrics.port }}"
{{- end }}
{{- with .Values.traces }}
{{- if .endpoint }}
otlp_endpoint = {{ .endpoint | quote }}
trace_ratio = {{ .ratio }}
{{- if .authority.existingSecret }}
otlp_authority_file = "/etc/quintile/telemetry/authority.pem"
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.history }}

[history]
membership_days = {{ int .membershipDays }}
size_days = {{ int .sizeDays }}
label_days = {{ int .labelDays }}
monthly_label_days = {{ int .monthlyLabelDays }}
{{- end }}
{{- range .Values.webhooks }}

[[webhooks]]
{{ include "quintile.endpoint" . }}
url = {{ .url | quote }}
secret_file = "/etc/quintile/webhooks/{{ include "quintile.endpointFile" . }}"
{{- end }}
{{- range .Values.mail }}

[[mail]]
{{ include "quintile.endpoint" . }}
server = {{ .server | quote }}
from = {{ .from | quote }}
{{- if .user }}
user = {{ .user | quote }}
password_file = "/etc/quintile/mail/{{ include "quintile.endpointFile" . }}"
{{- end }}
{{- with .unsubscribe }}
unsubscribe = {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
