{{/* Of configure: the folders that it writes, at their own paths. What is not wanted is not mounted, for that would make it. */}}
{{- define "windlass.configureVolumeMounts" -}}
- name: config
  mountPath: /etc/windlass/config
  readOnly: true
{{- if include "windlass.writesContainerd" . }}
{{ include "windlass.containerdVolumeMounts" . | trim }}
{{- end }}
{{- if include "windlass.writesRegistriesConf" . }}
- name: registries-conf
  mountPath: /etc/containers/registries.conf.d
{{- end }}
- name: store
  mountPath: {{ include "windlass.storePath" . }}
{{- end }}

{{- define "windlass.configureVolumes" -}}
{{- if include "windlass.writesContainerd" . }}
{{ include "windlass.containerdVolumes" . | trim }}
{{- end }}
{{- if include "windlass.writesRegistriesConf" . }}
- name: registries-conf
  hostPath:
    path: /etc/containers/registries.conf.d
    type: DirectoryOrCreate
{{- end }}
{{- end }}

{{- define "windlass.containerdVolumeMounts" -}}
{{- $paths := include "windlass.containerdPaths" . | fromYaml }}
{{- $folder := include "windlass.configureHostPath" . }}
- name: containerd-config
  mountPath: {{ $folder }}
{{- if ne (dir $paths.configFile) $folder }}
- name: containerd-config-file
  mountPath: {{ dir $paths.configFile }}
  readOnly: true
{{- end }}
{{- end }}

{{- define "windlass.containerdVolumes" -}}
{{- $paths := include "windlass.containerdPaths" . | fromYaml }}
{{- $folder := include "windlass.configureHostPath" . }}
- name: containerd-config
  hostPath:
    path: {{ $folder }}
    type: DirectoryOrCreate
{{- if ne (dir $paths.configFile) $folder }}
- name: containerd-config-file
  hostPath:
    path: {{ dir $paths.configFile }}
{{- end }}
{{- end }}

{{/*
Of the clean-up: what configure writes, and, by way of the node's /etc, which is there and need not be made, what it may
have written when the values were others.
*/}}
{{- define "windlass.cleanupVolumeMounts" -}}
{{ include "windlass.configureVolumeMounts" . | trim }}
{{- if include "windlass.cleansContainerdBeside" . }}
- name: containerd-config
  mountPath: {{ include "windlass.configureHostPath" . }}
{{- end }}
{{- if include "windlass.cleansThroughEtc" . }}
- name: etc
  mountPath: /node/etc
{{- end }}
{{- end }}

{{- define "windlass.cleanupVolumes" -}}
{{ include "windlass.configureVolumes" . | trim }}
{{- if include "windlass.cleansContainerdBeside" . }}
- name: containerd-config
  hostPath:
    path: {{ include "windlass.configureHostPath" . }}
    type: DirectoryOrCreate
{{- end }}
{{- if include "windlass.cleansThroughEtc" . }}
- name: etc
  hostPath:
    path: /etc
    type: Directory
{{- end }}
{{- end }}

{{- define "windlass.cleanupFolders" -}}
{{- $certsDir := (include "windlass.containerdPaths" . | fromYaml).certsDir }}
{{- if and (not (include "windlass.writesContainerd" .)) (hasPrefix "/etc/" $certsDir) }}
- --containerd.certs-dir=/node{{ $certsDir }}
{{- end }}
{{- if not (include "windlass.writesRegistriesConf" .) }}
- --registries-conf-dir=/node/etc/containers/registries.conf.d
{{- end }}
{{- end }}

{{- define "windlass.cleansThroughEtc" -}}
{{- if include "windlass.cleanupFolders" . | trim }}yes{{ end }}
{{- end }}

{{- define "windlass.cleansContainerdBeside" -}}
{{- $certsDir := (include "windlass.containerdPaths" . | fromYaml).certsDir }}
{{- if not (or (include "windlass.writesContainerd" .) (hasPrefix "/etc/" $certsDir)) }}yes{{ end }}
{{- end }}

{{- define "windlass.configureHostPath" -}}
{{- $certsDir := (include "windlass.containerdPaths" . | fromYaml).certsDir }}
{{- $folder := default (dir $certsDir) .Values.configure.hostPath }}
{{- if not (hasPrefix (printf "%s/" (trimSuffix "/" $folder)) (printf "%s/" $certsDir)) }}
{{- fail (printf "configure.hostPath is %s: it must hold containerd.certsDir, %s" $folder $certsDir) }}
{{- end }}
{{- $folder }}
{{- end }}

{{- define "windlass.writesContainerd" -}}
{{- if and .Values.configure.enabled (has "containerd" .Values.configure.runtimes) }}yes{{ end }}
{{- end }}

{{- define "windlass.writesRegistriesConf" -}}
{{- $runtimes := .Values.configure.runtimes }}
{{- if and .Values.configure.enabled (or (has "cri-o" $runtimes) (has "podman" $runtimes)) }}yes{{ end }}
{{- end }}

{{/* Both take what they name either as it is, or from the token of the Pod. Arguments: the flag, the root context. */}}
{{- define "windlass.installId" -}}
{{- $flag := index . 0 }}
{{- $installId := (index . 1).Values.configure.installId }}
{{- if not (or $installId (index . 1).Values.serviceAccount.create) }}
{{- fail "serviceAccount.create is false: an account that outlives the release tells no two installations apart; give each its own name in configure.installId" }}
{{- end }}
{{- if $installId }}
- --{{ $flag }}={{ $installId }}
{{- else }}
- --{{ $flag }}-from=/var/run/secrets/kubernetes.io/serviceaccount/token
{{- end }}
{{- end }}
