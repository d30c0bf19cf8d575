{{- /* Made by `npm run kit` from deploy/kit: change it there. */}}
{{- define "codetogether-edge.fullname" -}}
{{ default $.Release.Name $.Values.fullnameOverride }}
{{- end -}}
{{- define "codetogether-edge.image" -}}
{{ or (and $.Values.image.digest (printf "%s@%s" $.Values.image.repository $.Values.image.digest)) (printf "%s:%s" $.Values.image.repository (default $.Chart.AppVersion $.Values.image.tag)) }}
{{- end -}}
