{{- define "minikms.selector" -}}
app.kubernetes.io/name: minikms
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "minikms.labels" -}}
{{ include "minikms.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "minikms.replicas" -}}
{{ ternary .Values.replicas 1 (eq .Values.store.kind "postgres") }}
{{- end }}

{{- /* The options of `minikms serve` as JSON; the ones in the values come first. */ -}}
{{- define "minikms.options" -}}
{{- $options := dict "HOST" "0.0.0.0" "PORT" .Values.service.port "LOG_FORMAT" "json" -}}
{{- $_ := set $options "STORE_KEY_FILE" "/etc/minikms/store-key" -}}
{{- $_ := set $options "STORE_KEY_METHOD" .Values.store.keyMethod -}}
{{- if eq .Values.store.kind "sqlite" -}}
{{- $_ := set $options "STORE" "sqlite:///data/keys.db" -}}
{{- end -}}
{{- if .Values.volumes.audit -}}
{{- $_ := set $options "AUDIT_LOG" "/audit/audit.log" -}}
{{- end -}}
{{- if .Values.metrics.port -}}
{{- $_ := set $options "METRICS_HOST" "0.0.0.0" -}}
{{- $_ := set $options "METRICS_PORT" .Values.metrics.port -}}
{{- end -}}
{{- if .Values.tls.secret -}}
{{- $_ := set $options "TLS_CERT" "/etc/minikms-tls/tls.crt" -}}
{{- $_ := set $options "TLS_KEY" "/etc/minikms-tls/tls.key" -}}
{{- end -}}
{{- if .Values.roles.file -}}
{{- $_ := set $options "ROLES" "/etc/minikms-roles/roles.toml" -}}
{{- end -}}
{{- range $door, $port := .Values.doors -}}
{{- $_ := set $options (printf "%s_HOST" (upper $door)) "0.0.0.0" -}}
{{- $_ := set $options (printf "%s_PORT" (upper $door)) $port -}}
{{- end -}}
{{- merge (deepCopy .Values.options) $options | toJson -}}
{{- end }}

{{- define "minikms.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: ["ALL"]
volumeMounts:
  - name: secret
    mountPath: /etc/minikms
    readOnly: true
  {{- if .Values.tls.secret }}
  - name: tls
    mountPath: /etc/minikms-tls
    readOnly: true
  {{- end }}
  {{- if .Values.roles.file }}
  - name: roles
    mountPath: /etc/minikms-roles
    readOnly: true
  {{- if .Values.roles.cluster }}
  - name: cluster
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
  {{- end }}
  {{- end }}
  - name: tmp
    mountPath: /tmp
  {{- if eq .Values.store.kind "sqlite" }}
  - name: data
    mountPath: /data
  {{- end }}
  {{- if .Values.volumes.audit }}
  - name: audit
    mountPath: /audit
  {{- end }}
{{- end }}

{{- define "minikms.env" -}}
{{- range $name, $value := include "minikms.options" . | fromJson -}}
- name: MINIKMS_{{ $name }}
  value: {{ ternary (int64 $value) $value (kindIs "float64" $value) | toString | quote }}
{{ end }}
{{- if eq .Values.store.kind "postgres" -}}
- name: MINIKMS_STORE
  valueFrom:
    secretKeyRef:
      name: {{ .Values.secret }}
      key: store-url
{{ end }}
{{- end }}

{{- define "minikms.volume" -}}
- metadata:
    name: {{ index . 0 }}
  spec:
    accessModes: ["ReadWriteOnce"]
    {{- with index . 2 }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ index . 1 }}
{{- end }}
