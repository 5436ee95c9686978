{{/*
What the pods of a Deployment and of the StatefulSet have in common: the template's metadata and spec.
Takes (dict "root" $ "component" <component> "settings" <its values> "args" <list> "ports" <dict of name and port> "probed" <port> "spread" <bool>).
*/}}
{{- define "quintile.podTemplate" -}}
{{- $config := dict "checksum/config" (include "quintile.config" .root | sha256sum) -}}
metadata:
  labels:
    {{- include "quintile.labels" . | nindent 4 }}
  annotations:
    # Pods read their configuration once: a changed one has to replace them.
    {{- toYaml (mergeOverwrite (dict) .root.Values.podAnnotations (.settings.podAnnotations | default dict) $config) | nindent 4 }}
spec:
  # Time to be taken out of the Services, to finish the calls in work, and to let go of leases and databases.
  terminationGracePeriodSeconds: {{ add (int .root.Values.drainSeconds) 20 }}
  {{- include "quintile.podSettings" . | nindent 2 }}
  {{- if .spread }}
  {{- include "quintile.topologySpread" . | nindent 2 }}
  {{- end }}
  containers:
    - name: quintile
      image: {{ include "quintile.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: {{ toJson .args }}
      {{- with include "quintile.env" .root }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      ports:
        {{- range $name, $port := .ports }}
        - name: {{ $name }}
          containerPort: {{ int $port }}
        {{- end }}
        {{- if .root.Values.metrics.enabled }}
        - name: metrics
          containerPort: {{ int .root.Values.metrics.port }}
        {{- end }}
      {{- include "quintile.probes" . | nindent 6 }}
      {{- if semverCompare ">=1.30-0" .root.Capabilities.KubeVersion.Version }}
      lifecycle:
        preStop:
          # It accepts no connection once it drains: by then nobody should be sent here any more.
          sleep:
            seconds: 5
      {{- end }}
      securityContext:
        {{- include "quintile.securityContext" .root | nindent 8 }}
      resources:
        {{- toYaml .settings.resources | nindent 8 }}
      volumeMounts:
        {{- include "quintile.volumeMounts" .root | nindent 8 }}
  volumes:
    {{- include "quintile.volumes" (set . "configMap" (printf "%s-config" (include "quintile.name" .root))) | nindent 4 }}
{{- end }}

{{/*
The kubelet's gRPC probes speak no TLS: with it, the binary asks the ports of its own pod, and needs to write nowhere.
Takes (dict "root" $ "component" <component> "probed" <port>).
*/}}
{{- define "quintile.probes" -}}
{{- $isTls := .root.Values.tls.enabled -}}
{{- $role := ternary (list) (list "--role" .component) (eq .component "embedded") -}}
{{- $command := concat (list "/usr/local/bin/quintile" "health") $role (list "--config" "/etc/quintile/quintile.toml") -}}
{{- $grpc := printf "grpc: { port: %d, service: \"\" }" (int .probed) -}}
{{- $probe := ternary (printf "exec: { command: %s }" (toJson $command)) $grpc $isTls -}}
# A service is not SERVING until it has caught up: five minutes for that, before liveness may kill it.
startupProbe:
  {{ $probe }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 60
readinessProbe:
  {{ $probe }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  {{ $probe }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/*
What every pod has, the migration's too. A role's own settings stand for those of all.
Takes (dict "root" $ "component" <component> "settings" <its values>).
*/}}
{{- define "quintile.podSettings" -}}
automountServiceAccountToken: false
# Service links would set QUINTILE_INGESTION_PORT and the like, among our own variables.
enableServiceLinks: false
securityContext:
  {{- include "quintile.podSecurityContext" . | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- range $key := list "priorityClassName" "nodeSelector" "tolerations" "affinity" }}
{{- with hasKey $.settings $key | ternary (get $.settings $key) (get $.root.Values $key) }}
{{ toYaml (dict $key .) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Pods of one role apart from each other; those of another revision do not count, or a rollout would be skewed by who is about to go. */}}
{{- define "quintile.topologySpread" -}}
{{- $labelled := . -}}
{{- $keys := dict "topology.kubernetes.io/zone" .root.Values.topologySpread.zone "kubernetes.io/hostname" .root.Values.topologySpread.host -}}
{{- if ne (join "" (values $keys)) "" -}}
topologySpreadConstraints:
  {{- range $key, $otherwise := $keys }}
  {{- with $otherwise }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ . }}
    labelSelector:
      matchLabels:
        {{- include "quintile.selectorLabels" $labelled | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "quintile.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- if eq .component "embedded" }}
# Once is enough: with each start it would take as long as there are files, and open the keys to the group anew.
fsGroupChangePolicy: OnRootMismatch
{{- end }}
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
{{- if eq .Values.mode "production" -}}
- name: QUINTILE_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.secrets.database.existingSecret }}
      key: {{ .Values.secrets.database.key }}
{{- end }}
{{- end }}

{{/*
All of /etc/quintile is one volume: the secrets could not be mounted inside a ConfigMap's volume, which is read-only.
data and tmp are the writable places. In production what is there may be lost with the pod; the embedded store's data are in a claim.
The secrets of webhooks and the passwords of senders of e-mails are for those pods alone that run lifecycle, and nobody serves in the migration.
Takes (dict "root" $ "configMap" <name> "component" <component> "settings" <its values>).
*/}}
{{- define "quintile.volumes" -}}
{{- $values := .root.Values -}}
- name: config
  projected:
    defaultMode: 0440
    sources:
      - configMap:
          name: {{ .configMap }}
      {{- if include "quintile.hasSecrets" .root }}
      {{- include "quintile.secretFile" (list $values.secrets.bootstrap "secrets/bootstrap.secret") | nindent 6 }}
      {{- include "quintile.secretFile" (list $values.secrets.masterKey "secrets/master.key") | nindent 6 }}
      {{- end }}
      {{- if and (eq $values.mode "production") $values.secrets.databaseAuthority.existingSecret }}
      {{- include "quintile.secretFile" (list $values.secrets.databaseAuthority "secrets/database-authority.pem") | nindent 6 }}
      {{- end }}
      {{- if and $values.tls.enabled (ne .component "migrate") }}
      - secret:
          name: {{ .settings.tlsSecret | default $values.tls.existingSecret }}
          items:
            - key: {{ $values.tls.certificateKey }}
              path: tls/certificate.pem
            - key: {{ $values.tls.privateKeyKey }}
              path: tls/key.pem
            - key: {{ $values.tls.authorityKey }}
              path: tls/authority.pem
      {{- end }}
      {{- if and $values.traces.endpoint $values.traces.authority.existingSecret (ne .component "migrate") }}
      {{- include "quintile.secretFile" (list $values.traces.authority "telemetry/authority.pem") | nindent 6 }}
      {{- end }}
      {{- if has .component (list "lifecycle" "embedded") }}
      {{- range $values.webhooks }}
      {{- include "quintile.secretFile" (list . (printf "webhooks/%s" (include "quintile.endpointFile" .))) | nindent 6 }}
      {{- end }}
      {{- range $values.mail }}
      {{- if .user }}
      {{- include "quintile.secretFile" (list . (printf "mail/%s" (include "quintile.endpointFile" .))) | nindent 6 }}
      {{- end }}
      {{- end }}
      {{- end }}
{{- if ne .component "embedded" }}
- name: data
  emptyDir: {}
{{- else if $values.embedded.volume.existingClaim }}
- name: data
  persistentVolumeClaim:
    claimName: {{ $values.embedded.volume.existingClaim }}
{{- end }}
- name: tmp
  emptyDir: {}
{{- end }}

{{/* A key of a Secret as a file of the projected volume. Takes (list <reference> <path>). */}}
{{- define "quintile.secretFile" -}}
{{- $reference := index . 0 -}}
- secret:
    name: {{ $reference.existingSecret }}
    items:
      - key: {{ $reference.key }}
        path: {{ index . 1 }}
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
