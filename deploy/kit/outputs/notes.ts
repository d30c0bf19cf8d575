/** What `helm install` prints. */
export const NOTES = `CodeTogether edge {{ $.Chart.AppVersion }} is installed as {{ include "codetogether-edge.fullname" $ }}.

{{- if or $.Values.gateway.enabled $.Values.ingress.enabled }}

Set settings.CT_SERVER_URL to the URL that people use, and settings.CT_TRUSTED_PROXIES to the network of what is in front.
{{- else }}

Nothing leads people to it yet: set gateway.enabled or ingress.enabled. To try it:

    kubectl -n {{ $.Release.Namespace }} port-forward service/{{ include "codetogether-edge.fullname" $ }}-balancer 1080:{{ $.Values.balancer.service.port | int }}
{{- end }}

{{- if eq $.Values.autoscaling.mode "hpa" }}

The autoscaler needs the external metric codetogether_workers_wanted. See whether it is there:

    kubectl get --raw "/apis/external.metrics.k8s.io/v1beta1/namespaces/{{ $.Release.Namespace }}/codetogether_workers_wanted"
{{- end }}

More: docs/operators/kubernetes.md
`;
