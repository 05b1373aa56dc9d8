{{- define "windlass.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* 40: what is appended to it must fit into the 63 of a name. */}}
{{- define "windlass.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "windlass.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "windlass.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "windlass.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/*
Of what is in no namespace: releases of the same name in others have theirs. No namespace has a dot, so that no two are
the same. At most 63 + 1 + 40, of the 253 of such a name.
*/}}
{{- define "windlass.clusterName" -}}
{{- printf "%s.%s" (include "windlass.namespace" .) (include "windlass.fullname" .) }}
{{- end }}

{{- define "windlass.selectorLabels" -}}
app.kubernetes.io/name: {{ include "windlass.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "windlass.labels" -}}
{{ include "windlass.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with include "windlass.ownLabels" (list "commonLabels" .) | fromYaml }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Without versions: a new chart alone restarts no Pod. */}}
{{- define "windlass.podLabels" -}}
{{ include "windlass.selectorLabels" . }}
{{- with include "windlass.ownLabels" (list "commonLabels" .) | fromYaml }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "windlass.agentPodLabels" -}}
{{ include "windlass.selectorLabels" . }}
{{- $common := include "windlass.ownLabels" (list "commonLabels" .) | fromYaml }}
{{- with merge (include "windlass.ownLabels" (list "podLabels" .) | fromYaml) $common }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of the user's, none of which is one of ours. Arguments: the name of the value, the root context. */}}
{{- define "windlass.ownLabels" -}}
{{- $name := index . 0 }}
{{- $labels := get (index . 1).Values $name | default dict }}
{{- range $key, $_ := $labels }}
{{- if regexMatch "^(app\\.kubernetes\\.io/(name|instance|component|version|managed-by)|helm\\.sh/chart)$" $key }}
{{- fail (printf "%s: %s is a label of the chart's own, by which Pods are found" $name $key) }}
{{- end }}
{{- end }}
{{- toYaml $labels }}
{{- end }}

{{- define "windlass.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "windlass.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.create is false: name one that exists in serviceAccount.name" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "windlass.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* What a container needs to run any command of the image. */}}
{{- define "windlass.container" -}}
image: {{ include "windlass.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* The same, of one that writes the node's files: the Pod's status then says why it failed, as await-cleanup tells it. */}}
{{- define "windlass.nodeContainer" -}}
{{ include "windlass.container" . }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* What every Pod has: it runs on a node that may have nothing yet, neither a network for Pods nor DNS. */}}
{{- define "windlass.pod" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
dnsPolicy: Default
enableServiceLinks: false
securityContext:
  {{- $selinux := dict }}
  {{- with .Values.seLinuxOptions }}
  {{- $selinux = dict "seLinuxOptions" . }}
  {{- end }}
  {{- merge $selinux (.Values.podSecurityContext | default dict) | toYaml | nindent 2 }}
{{- end }}

{{- define "windlass.agentNodes" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Of Pods that only speak with the API. They go on no node that is dead or about to be drained, where they would hold up
Helm; and have no priority of the system's, which on GKE needs a quota that is not there before the first hook.
*/}}
{{- define "windlass.hookTolerations" -}}
{{- $all := .Values.hooks.tolerations | default list }}
{{- if .Values.startupTaint.enabled }}
{{- $all = append $all (dict "key" .Values.startupTaint.key "operator" "Exists") }}
{{- end }}
{{- with $all }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "windlass.hookPod" -}}
{{- include "windlass.pod" . }}
{{- include "windlass.hookTolerations" . }}
{{- with .Values.hooks.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Of Pods that only speak with the API: as little as the agent. */}}
{{- define "windlass.hookSecurityContext" -}}
runAsUser: 65532
runAsGroup: 65532
runAsNonRoot: true
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "windlass.peersService" -}}
{{ include "windlass.fullname" . }}-peers
{{- end }}
