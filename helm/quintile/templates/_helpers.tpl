{{/* The prefix of every object's name. 48 characters leave room for the longest suffix, "-access-control", in a Service's 63. */}}
{{- define "quintile.name" -}}
{{ .Release.Name | trunc 48 | trimSuffix "-" }}
{{- end }}

{{/* Labels that select pods: they may never change in a living Deployment. Takes (dict "root" $ "component" <role>). */}}
{{- define "quintile.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of every object. Takes (dict "root" $ "component" <role>). */}}
{{- define "quintile.labels" -}}
{{ include "quintile.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "quintile.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

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

{{/* quintile.toml: the same for every role and for the migration. The role access-control has the key `access`. */}}
{{- define "quintile.config" -}}
data_dir = "/var/lib/quintile"

[listen]
host = "0.0.0.0"
{{- range $role, $settings := .Values.roles }}
{{ $role | trimSuffix "-control" }} = {{ int $settings.port }}
{{- end }}

[peers]
{{- range $role, $settings := .Values.roles }}
{{ $role | trimSuffix "-control" }} = "http://{{ include "quintile.name" $ }}-{{ $role }}:{{ int $settings.port }}"
{{- end }}

[secrets]
bootstrap_file = "/etc/quintile/secrets/bootstrap.secret"
master_key_file = "/etc/quintile/secrets/master.key"
{{- with .Values.history }}
{{- if lt (int .monthlyLabelDays) (int .labelDays) }}
{{- fail "history.monthlyLabelDays must be at least history.labelDays" }}
{{- end }}

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

{{- define "quintile.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "quintile.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: ["ALL"]
{{- end }}

{{- define "quintile.env" -}}
- name: QUINTILE_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.secrets.database.existingSecret }}
      key: {{ .Values.secrets.database.key }}
{{- end }}

{{/*
All of /etc/quintile is one volume: the secrets could not be mounted inside a ConfigMap's volume, which is read-only.
data and tmp are the writable places, and what is there may be lost with the pod.
The secrets of webhooks and the passwords of senders of e-mails are lifecycle's alone. Takes (dict "root" $ "configMap" <name> "component" <role>).
*/}}
{{- define "quintile.volumes" -}}
- name: config
  projected:
    defaultMode: 0440
    sources:
      - configMap:
          name: {{ .configMap }}
      - secret:
          name: {{ .root.Values.secrets.bootstrap.existingSecret }}
          items:
            - key: {{ .root.Values.secrets.bootstrap.key }}
              path: secrets/bootstrap.secret
      - secret:
          name: {{ .root.Values.secrets.masterKey.existingSecret }}
          items:
            - key: {{ .root.Values.secrets.masterKey.key }}
              path: secrets/master.key
      {{- if eq .component "lifecycle" }}
      {{- range .root.Values.webhooks }}
      - secret:
          name: {{ .existingSecret }}
          items:
            - key: {{ .key }}
              path: webhooks/{{ include "quintile.endpointFile" . }}
      {{- end }}
      {{- range .root.Values.mail }}
      {{- if .user }}
      - secret:
          name: {{ .existingSecret }}
          items:
            - key: {{ .key }}
              path: mail/{{ include "quintile.endpointFile" . }}
      {{- end }}
      {{- end }}
      {{- end }}
- name: data
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- end }}

{{- define "quintile.volumeMounts" -}}
- name: config
  mountPath: /etc/quintile
  readOnly: true
- name: data
  mountPath: /var/lib/quintile
- name: tmp
  mountPath: /tmp
{{- end }}
