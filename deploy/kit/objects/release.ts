/** What only the chart has: the ConfigMap of settings, which kustomize's overlays generate, and a service account. */
import { value } from "../model/expression.ts";
import { fields, given, spread, text } from "../model/node.ts";
import { type KitObject, metadata } from "./names.ts";
import { SERVICE_ACCOUNT_NAME, SETTINGS_NAME } from "./pods.ts";

export const RELEASE_OBJECTS: readonly KitObject[] = [
  {
    body: fields(
      { apiVersion: "v1", kind: "ConfigMap", metadata: metadata({ name: text(SETTINGS_NAME) }) },
      given("data", "settings"),
    ),
  },
  {
    when: value("serviceAccount.create"),
    body: {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: metadata({
        name: text(SERVICE_ACCOUNT_NAME),
        annotations: [spread("serviceAccount.annotations")],
      }),
      automountServiceAccountToken: false,
    },
  },
];
