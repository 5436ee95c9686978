{{/* The prefix of every object's name. 48 characters leave room for the longest suffix, "-access-control", in a Service's 63. */}}
{{- define "quintile.name" -}}
{{ .Release.Name | trunc 48 | trimSuffix "-" }}
{{- end }}

{{/* Labels of all pods of the release, whatever they run. */}}
{{- define "quintile.releaseLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/*
Labels that select pods: they may never change in a living Deployment. Takes (dict "root" $ "component" <component>), where the component is a role,
"embedded" or "migrate".
*/}}
{{- define "quintile.selectorLabels" -}}
{{ include "quintile.releaseLabels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of every object. Takes (dict "root" $ "component" <component>). */}}
{{- define "quintile.labels" -}}
{{ include "quintile.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "quintile.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The component whose pods answer for a role. Takes (dict "root" $ "role" <role>). */}}
{{- define "quintile.componentOf" -}}
{{ if eq .root.Values.mode "embedded" }}embedded{{ else }}{{ .role }}{{ end }}
{{- end }}

{{/* How many pods a role may have at most: an autoscaler's word, or that of the values. Takes the role's settings. */}}
{{- define "quintile.mostReplicas" -}}
{{ if (.autoscaling).enabled }}{{ int .autoscaling.maxReplicas }}{{ else }}{{ int .replicas }}{{ end }}
{{- end }}

{{/* Whether there is an object of the Prometheus operator. Takes (dict "root" $ "enabled" <auto, always or never>). */}}
{{- define "quintile.isMonitored" -}}
{{- $isKnown := .root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1" -}}
{{ if and .root.Values.metrics.enabled (or (eq .enabled "always") (and (eq .enabled "auto") $isKnown)) }}true{{ end }}
{{- end }}

{{/* Values that contradict each other, which the schema can't see. */}}
{{- define "quintile.check" -}}
{{- with .Values.history }}
{{- if lt (int .monthlyLabelDays) (int .labelDays) }}
{{- fail "history.monthlyLabelDays must be at least history.labelDays" }}
{{- end }}
{{- end }}
{{- if gt (int .Values.roles.segmentation.replicas) 1 }}
{{- fail "roles.segmentation.replicas must be 0 or 1: one pod holds the population in memory and answers, and a second one is never ready" }}
{{- end }}
{{- $ports := list }}
{{- range $role, $settings := .Values.roles }}
{{- $ports = append $ports (int $settings.port) }}
{{- if (($settings).autoscaling).enabled }}
{{- if gt (int $settings.autoscaling.minReplicas) (int $settings.autoscaling.maxReplicas) }}
{{- fail (printf "roles.%s.autoscaling.maxReplicas must be at least its minReplicas" $role) }}
{{- end }}
{{- if not (($settings.resources).requests).cpu }}
{{- fail (printf "roles.%s.resources.requests.cpu must be set: autoscaling measures by it" $role) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.metrics.enabled (has (int .Values.metrics.port) $ports) }}
{{- fail "metrics.port must be none of roles.*.port: one pod listens on both" }}
{{- end }}
{{- if and (eq .Values.mode "embedded") (ne (len $ports) (len (uniq $ports))) }}
{{- fail "roles.*.port must differ from each other in the mode embedded: one pod listens on all of them" }}
{{- end }}
{{- end }}
