{{/*
The settings of the agent: what the chart says itself, and over it what is in `config`. As YAML; the templates that depend
on a setting read it from here, so that there is one place to set it.
*/}}
{{- define "windlass.config" -}}
{{- if dig "node" "name" "" (.Values.config | default dict) }}
{{- fail "config.node.name: all agents would have the same; leave it out, each has the name of its node" }}
{{- end }}
{{- $kind := dig "discovery" "kind" "kubernetes" (.Values.config | default dict) }}
{{- $any := ternary "[::]" "0.0.0.0" (has "IPv6" .Values.ipFamilies) }}
{{- $p2p := list }}
{{- range .Values.ipFamilies }}
{{- $p2p = append $p2p (ternary "/ip6/::/tcp/5052" "/ip4/0.0.0.0/tcp/5052" (eq . "IPv6")) }}
{{- end }}
{{- $own := dict
  "discovery" (dict "kind" $kind)
  "peer" (dict "listen" (printf "%s:5051" $any))
  "p2p" (dict "listen" $p2p)
  "status" (dict "listen" (printf "%s:5053" $any)) }}
{{- if eq $kind "kubernetes" }}
{{- $service := printf "%s/%s" (include "windlass.namespace" .) (include "windlass.peersService" .) }}
{{- $_ := set $own.discovery "kubernetes" (dict "service" $service "port" "p2p") }}
{{- end }}
{{- if .Values.startupTaint.enabled }}
{{- $_ := set $own "node" (dict "startupTaint" .Values.startupTaint.key) }}
{{- end }}
{{- if .Values.containerdContent.enabled }}
{{- $_ := set $own "containerd" (dict "socket" (include "windlass.containerdSocket" .)) }}
{{- end }}
{{- if not .Values.hostNetwork }}
{{- /* A port of the node's loopback leads there, and to IPv4 alone: Linux lets no other loopback address be forwarded. */}}
{{- if not (has "IPv4" .Values.ipFamilies) }}
{{- fail "hostNetwork is false: the mirror's port on the node's loopback takes IPv4, which ipFamilies does not have; leave hostNetwork on" }}
{{- end }}
{{- $_ := set $own "mirror" (dict "listen" (list "0.0.0.0:5050")) }}
{{- end }}
{{- if include "windlass.usesSecret" . }}
{{- $files := list }}
{{- range .Values.clusterSecret.keys }}
{{- $files = append $files (printf "/etc/windlass/secret/%s" .) }}
{{- end }}
{{- $_ := set $own "cluster" (dict "secretFile" $files) }}
{{- end }}
{{- mergeOverwrite $own (deepCopy (.Values.config | default dict)) | toYaml }}
{{- end }}

{{/* Is the secret of the agents that of clusterSecret? */}}
{{- define "windlass.usesSecret" -}}
{{- $alone := eq (dig "discovery" "kind" "kubernetes" (.Values.config | default dict)) "none" }}
{{- if not (or $alone (dig "cluster" "insecure" false (.Values.config | default dict)) (dig "cluster" "secretFile" list (.Values.config | default dict))) }}yes{{ end }}
{{- end }}

{{- define "windlass.secretName" -}}
{{- default (printf "%s-cluster" (include "windlass.fullname" .)) .Values.clusterSecret.existingSecret }}
{{- end }}

{{/* Does the chart have that Secret made? */}}
{{- define "windlass.makesSecret" -}}
{{- if and (include "windlass.usesSecret" .) (not .Values.clusterSecret.existingSecret) }}yes{{ end }}
{{- end }}

{{/* The port at the end of `host:port` or of a multiaddr; of a list, of its first. */}}
{{- define "windlass.port" -}}
{{- $first := . }}
{{- if kindIs "slice" . }}{{ $first = first . }}{{ end }}
{{- regexFind "[0-9]+$" (toString $first) }}
{{- end }}

{{/* For whom kubelet asks: on the node's own network it is on the node itself, and reaches a listener on loopback too. */}}
{{- define "windlass.statusPort" -}}
{{- $listen := (include "windlass.config" . | fromYaml).status.listen }}
{{- $host := regexReplaceAll ":[0-9]+$" $listen "" | trimAll "[]" }}
{{- if .Values.hostNetwork }}
host: {{ ternary "127.0.0.1" $host (has $host (list "0.0.0.0" "::" "localhost")) | quote }}
{{- else if regexMatch "^(127\\.|localhost$|::1$)" $host }}
{{- fail (printf "config.status.listen is %s: without hostNetwork the probes ask at the Pod's address; listen there" $listen) }}
{{- end }}
port: status
{{- end }}

{{/* Whole seconds, rounded up, of a time such as 1.5m. */}}
{{- define "windlass.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 }}
{{- $number := regexFind "^[0-9.]+" (toString .) | float64 }}
{{- ceil (mulf $number (get $units (regexFind "[a-z]+$" (toString .)) | default 1.0)) | int }}
{{- end }}

{{- define "windlass.gracePeriodSeconds" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds }}
{{- $config := include "windlass.config" . | fromYaml }}
{{- add 10 (include "windlass.seconds" (dig "stop" "gracePeriod" "20s" $config) | int) }}
{{- else }}
{{- .Values.terminationGracePeriodSeconds }}
{{- end }}
{{- end }}

{{- define "windlass.storePath" -}}
{{- dig "store" "path" "/var/lib/windlass" (include "windlass.config" . | fromYaml) }}
{{- end }}

{{/* Whose paths: of containerd's folders, and of its socket. As in src/containerd/presets.ts: a test compares. */}}
{{- define "windlass.preset" -}}
{{- dig "containerd" "preset" "default" (.Values.config | default dict) }}
{{- end }}

{{- define "windlass.containerdSocket" -}}
{{- ternary "/run/k3s/containerd/containerd.sock" "/run/containerd/containerd.sock" (has (include "windlass.preset" .) (list "k3s" "rke2")) }}
{{- end }}

{{- define "windlass.containerdPaths" -}}
{{- $containerd := dig "containerd" dict (.Values.config | default dict) }}
{{- $preset := include "windlass.preset" . }}
{{- $folder := "/etc/containerd" }}
{{- $certs := "certs.d" }}
{{- $file := "config.toml" }}
{{- $content := "/var/lib/containerd/io.containerd.content.v1.content" }}
{{- if has $preset (list "k3s" "rke2") }}
{{- $folder = printf "/var/lib/rancher/%s/agent/etc/containerd" $preset }}
{{- $content = printf "/var/lib/rancher/%s/agent/containerd/io.containerd.content.v1.content" $preset }}
{{- else if eq $preset "talos" }}
{{- $folder = "/etc/cri/conf.d" }}
{{- $certs = "hosts" }}
{{- $file = "cri.toml" }}
{{- else if eq $preset "gke" }}
{{- $certs = "hosts.d" }}
{{- end }}
certsDir: {{ default (printf "%s/%s" $folder $certs) (dig "certsDir" "" $containerd) | quote }}
configFile: {{ default (printf "%s/%s" $folder $file) (dig "configFile" "" $containerd) | quote }}
contentDir: {{ default $content (dig "contentDir" "" $containerd) | quote }}
socket: {{ default (include "windlass.containerdSocket" .) (dig "socket" "" $containerd) | quote }}
{{- end }}

{{/* What containerd holds, and its socket, are root's. */}}
{{- define "windlass.agentSecurityContext" -}}
{{- $own := dict }}
{{- if .Values.containerdContent.enabled }}
{{- $own = dict "runAsUser" 0 "runAsGroup" 0 "runAsNonRoot" false }}
{{- end }}
{{- mergeOverwrite (dict "runAsUser" 65532 "runAsGroup" 65532) (deepCopy (.Values.securityContext | default dict)) $own | toYaml }}
{{- end }}
