{{- define "ballast.labels" -}}
app.kubernetes.io/name: ballast
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "ballast.selector" -}}
app.kubernetes.io/name: ballast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Of every pod. */ -}}
{{- define "ballast.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* Of every container. */ -}}
{{- define "ballast.container" -}}
imagePullPolicy: {{ .Values.images.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- with .Values.environmentFrom }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
{{- end }}

{{- define "ballast.environment" -}}
- {name: BALLAST_DATABASE_URL_FILE, value: /run/secrets/ballast/database-url}
- {name: BALLAST_BROKER_URL_FILE, value: /run/secrets/ballast/broker-url}
- {name: BALLAST_GRACE_SECONDS, value: {{ .Values.graceSeconds | quote }}}
{{- with .Values.checkpoints.url }}
- {name: BALLAST_CHECKPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- range $name, $value := .Values.settings }}
- {name: BALLAST_{{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "ballast.mounts" -}}
- {name: secret, mountPath: /run/secrets/ballast, readOnly: true}
- {name: home, mountPath: /var/lib/ballast}
- {name: temporary, mountPath: /tmp}
- {name: checkpoints, mountPath: /srv/ballast/checkpoints}
{{- end }}

{{- define "ballast.volumes" -}}
- {name: secret, secret: {secretName: {{ .Values.secret }}, defaultMode: 0440}}
- {name: home, emptyDir: {}}
- {name: temporary, emptyDir: {}}
- name: checkpoints
  {{- if .Values.checkpoints.claim }}
  persistentVolumeClaim: {claimName: {{ .Values.checkpoints.claim }}}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}

{{- /* Every name under which the API is reached. */ -}}
{{- define "ballast.names" -}}
{{- $service := printf "%s.%s" .Release.Name .Release.Namespace -}}
{{- $names := list .Release.Name $service (printf "%s.svc" $service) (printf "%s.svc.cluster.local" $service) -}}
{{- if .Values.ingress.enabled }}{{ $names = append $names .Values.ingress.host }}{{ end -}}
{{- concat $names .Values.allowedHosts | toJson -}}
{{- end }}
