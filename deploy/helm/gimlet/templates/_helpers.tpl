{{- define "gimlet.name" -}}
{{- if contains "gimlet" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-gimlet" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "gimlet.secret" -}}
{{- .Values.secret.existing | default (include "gimlet.name" .) }}
{{- end }}

{{/* Labels of a role: (list $ "connect"). */}}
{{- define "gimlet.selector" -}}
app.kubernetes.io/name: gimlet
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "gimlet.labels" -}}
{{ include "gimlet.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end }}

{{/* A variable from the secret: (list $ "GIMLET_…" "key"). */}}
{{- define "gimlet.fromSecret" -}}
- name: {{ index . 1 }}
  valueFrom:
    secretKeyRef:
      name: {{ include "gimlet.secret" (index . 0) }}
      key: {{ index . 2 }}
{{- end }}

{{/* Address of BusinessInt. */}}
{{- define "gimlet.business" -}}
{{- if .Values.business.enabled -}}
{{ include "gimlet.name" . }}-business-nodes:50000
{{- else -}}
{{ required "business.external is not set: set it to host:port of the server that has BusinessInt, or enable business" .Values.business.external }}
{{- end }}
{{- end }}

{{/* One Deployment: (dict "top" $ "role" "connect" "ports" (list …) "env" "…"). */}}
{{- define "gimlet.deployment" -}}
{{- $top := .top }}
{{- $role := .role }}
{{- $of := index $top.Values $role }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "gimlet.name" $top }}-{{ $role }}
  labels:
    {{- include "gimlet.labels" (list $top $role) | nindent 4 }}
spec:
  replicas: {{ $of.replicas }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels:
      {{- include "gimlet.selector" (list $top $role) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "gimlet.labels" (list $top $role) | nindent 8 }}
      annotations:
        # New values of the secret restart the pods.
        checksum/secret: {{ toJson $top.Values.secret | sha256sum }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ $top.Values.stop.terminationGracePeriodSeconds }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        seccompProfile: {type: RuntimeDefault}
      {{- with $top.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "gimlet.selector" (list $top $role) | nindent 14 }}
      containers:
        - name: gimlet
          image: "{{ $top.Values.image.repository }}:{{ $top.Values.image.tag | default $top.Chart.AppVersion }}"
          imagePullPolicy: {{ $top.Values.image.pullPolicy }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          env:
            - name: POD_IP
              valueFrom: {fieldRef: {fieldPath: status.podIP}}
            - {name: GIMLET_ROLES, value: {{ $role }}}
            - {name: GIMLET_STORAGE__KIND, value: mysql}
            - {name: GIMLET_DATA_DIR, value: /data}
            - {name: GIMLET_LISTEN__INTERNAL, value: "0.0.0.0:50000"}
            - {name: GIMLET_LISTEN__OPS, value: "0.0.0.0:8086"}
            - {name: GIMLET_TLS__TERMINATED_ELSEWHERE, value: "true"}
            - {name: GIMLET_CLUSTER__ADVERTISE, value: "$(POD_IP):50000"}
            - {name: GIMLET_STOP__GRACE, value: {{ $top.Values.stop.grace | quote }}}
            - {name: GIMLET_STOP__COME_BACK, value: {{ $top.Values.stop.comeBack | quote }}}
            - {name: GIMLET_LOG__FORMAT, value: {{ $top.Values.log.format | quote }}}
            - {name: GIMLET_LOG__LEVEL, value: {{ $top.Values.log.level | quote }}}
            {{- include "gimlet.fromSecret" (list $top "GIMLET_CLUSTER__SECRET" "cluster-secret") | nindent 12 }}
            {{- include "gimlet.fromSecret" (list $top "GIMLET_STORAGE__REDIS_URL" "redis-url") | nindent 12 }}
            {{- .env | nindent 12 }}
            {{- range $name, $value := $of.env }}
            - {name: {{ $name }}, value: {{ $value | quote }}}
            {{- end }}
          ports:
            {{- range .ports }}
            - {name: {{ .name }}, containerPort: {{ .port }}}
            {{- end }}
            - {name: internal, containerPort: 50000}
            - {name: ops, containerPort: 8086}
          startupProbe:
            httpGet: {path: /readyz, port: ops}
            periodSeconds: 2
            failureThreshold: 60
          readinessProbe:
            httpGet: {path: /readyz, port: ops}
            periodSeconds: 2
            timeoutSeconds: 2
            failureThreshold: 2
          livenessProbe:
            httpGet: {path: /healthz, port: ops}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          lifecycle:
            preStop:
              exec:
                command: ["sleep", {{ $top.Values.stop.preStopSeconds | quote }}]
          resources:
            {{- toYaml $of.resources | nindent 12 }}
          volumeMounts:
            - {name: data, mountPath: /data}
      volumes:
        - name: data
          {{- if and (eq $role "business") $of.filesClaim }}
          persistentVolumeClaim: {claimName: {{ $of.filesClaim }}}
          {{- else }}
          emptyDir: {}
          {{- end }}
      {{- with $of.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $of.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}

{{/* Services of a role: one for clients' ports, and a headless one for other nodes. */}}
{{- define "gimlet.services" -}}
{{- $top := .top }}
{{- $role := .role }}
{{- $of := index $top.Values $role }}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "gimlet.name" $top }}-{{ $role }}
  labels:
    {{- include "gimlet.labels" (list $top $role) | nindent 4 }}
  {{- with $of.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $of.service.type }}
  selector:
    {{- include "gimlet.selector" (list $top $role) | nindent 4 }}
  ports:
    {{- range .ports }}
    - {name: {{ .name }}, port: {{ .public }}, targetPort: {{ .name }}}
    {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "gimlet.name" $top }}-{{ $role }}-nodes
  labels:
    {{- include "gimlet.labels" (list $top $role) | nindent 4 }}
spec:
  clusterIP: None
  selector:
    {{- include "gimlet.selector" (list $top $role) | nindent 4 }}
  ports:
    - {name: internal, port: 50000, targetPort: internal}
    - {name: ops, port: 8086, targetPort: ops}
{{- if and $top.Values.disruptionBudget.enabled (gt (int $of.replicas) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "gimlet.name" $top }}-{{ $role }}
  labels:
    {{- include "gimlet.labels" (list $top $role) | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "gimlet.selector" (list $top $role) | nindent 6 }}
{{- end }}
{{- end }}
