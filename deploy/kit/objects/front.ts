/** What leads people to the balancers: an HTTPRoute of the Gateway API, or an Ingress. Neither needs to be sticky. */
import { ITEM, value } from "../model/expression.ts";
import { count, each, fields, given, note, spread, text, when } from "../model/node.ts";
import { type KitObject, metadata, name } from "./names.ts";

const TIMEOUT = value("gateway.requestTimeout");
const TLS_SECRET = value("ingress.tlsSecret");

export const GATEWAY_OBJECTS: readonly KitObject[] = [
  {
    when: value("gateway.enabled"),
    body: {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "HTTPRoute",
      metadata: metadata({
        name: "balancer",
        program: "balancer",
        annotations: [spread("gateway.annotations")],
      }),
      spec: fields(
        given("parentRefs", "gateway.parentRefs"),
        given("hostnames", "gateway.hosts"),
        note("No session persistence: any balancer finds the worker of any session."),
        {
          rules: [
            fields(
              { matches: [{ path: { type: "PathPrefix", value: "/" } }] },
              note(
                "No time limit: WebSockets stay open for hours, and a long poll lasts 30 s. Balancers have time limits of their own.",
              ),
              when(TIMEOUT, { timeouts: { request: text(TIMEOUT) } }),
              {
                backendRefs: [
                  { name: name("balancer"), port: count(value("balancer.service.port")) },
                ],
              },
            ),
          ],
        },
      ),
    },
  },
];

export const INGRESS_OBJECTS: readonly KitObject[] = [
  {
    when: value("ingress.enabled"),
    body: fields(
      note(
        "WebSockets must pass, with a time limit of a minute or more. No session affinity: any balancer finds the worker of any session.",
      ),
      {
        apiVersion: "networking.k8s.io/v1",
        kind: "Ingress",
        metadata: metadata({
          name: "balancer",
          program: "balancer",
          annotations: [spread("ingress.annotations")],
        }),
        spec: fields(
          when(value("ingress.className"), { ingressClassName: text(value("ingress.className")) }),
          when(TLS_SECRET, {
            tls: [fields({ secretName: text(TLS_SECRET) }, given("hosts", "ingress.hosts"))],
          }),
          {
            rules: [
              each("ingress.hosts", {
                host: text(ITEM),
                http: {
                  paths: [
                    {
                      path: "/",
                      pathType: "Prefix",
                      backend: { service: { name: name("balancer"), port: { name: "http" } } },
                    },
                  ],
                },
              }),
            ],
          },
        ),
      },
    ),
  },
];
