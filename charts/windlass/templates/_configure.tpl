{{/* What configure and cleanup share: on the node they write the same folders, in the Pods of the agent and in their own. */}}
{{- define "windlass.configureVolumeMounts" -}}
{{- $paths := include "windlass.containerdPaths" . | fromYaml }}
{{- $folder := include "windlass.configureHostPath" . }}
- name: config
  mountPath: /etc/windlass/config
  readOnly: true
- name: containerd-config
  mountPath: {{ $folder }}
{{- if ne (dir $paths.configFile) $folder }}
- name: containerd-config-file
  mountPath: {{ dir $paths.configFile }}
  readOnly: true
{{- end }}
{{- if include "windlass.writesRegistriesConf" . }}
- name: registries-conf
  mountPath: /etc/containers/registries.conf.d
{{- end }}
- name: store
  mountPath: {{ include "windlass.storePath" . }}
{{- end }}

{{- define "windlass.configureVolumes" -}}
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
{{- if include "windlass.writesRegistriesConf" . }}
- name: registries-conf
  hostPath:
    path: /etc/containers/registries.conf.d
    type: DirectoryOrCreate
{{- end }}
{{- end }}

{{- define "windlass.configureHostPath" -}}
{{- $certsDir := (include "windlass.containerdPaths" . | fromYaml).certsDir }}
{{- $folder := default (dir $certsDir) .Values.configure.hostPath }}
{{- if not (hasPrefix (printf "%s/" (trimSuffix "/" $folder)) (printf "%s/" $certsDir)) }}
{{- fail (printf "configure.hostPath is %s: it must hold containerd.certsDir, %s" $folder $certsDir) }}
{{- end }}
{{- $folder }}
{{- end }}

{{- define "windlass.writesRegistriesConf" -}}
{{- if or (has "cri-o" .Values.configure.runtimes) (has "podman" .Values.configure.runtimes) }}yes{{ end }}
{{- end }}

{{/* Both take what they name either as it is, or from the token of the Pod. Arguments: the flag, the root context. */}}
{{- define "windlass.installId" -}}
{{- $flag := index . 0 }}
{{- $installId := (index . 1).Values.configure.installId }}
{{- if $installId }}
- --{{ $flag }}={{ $installId }}
{{- else }}
- --{{ $flag }}-from=/var/run/secrets/kubernetes.io/serviceaccount/token
{{- end }}
{{- end }}
