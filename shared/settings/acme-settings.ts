/** Settings of certificates that the edge obtains itself (ACME, RFC 8555). */
import type { Setting } from "./setting.ts";

/** Host names of at least two labels: no addresses, no wildcards. */
const DOMAIN =
  /^(?=.{4,253}$)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]$/;
/** A key id, and a key of at least 128 bits in base64url, as authorities give them. */
const BINDING = /^[^\s:]{1,200}:[A-Za-z0-9_+/-]{22,400}={0,2}$/;

export const ACME_SETTINGS = {
  acmeDomains: {
    env: "CT_ACME_DOMAINS",
    type: "list",
    default: [],
    pattern: DOMAIN,
    allowed:
      "host names like edge.example.com; a wildcard would need a record in DNS, which the edge cannot write",
    roles: ["edge", "balancer"],
    why: "Host names for which the edge obtains one certificate and renews it, which means that you agree to the terms of the authority. Each must lead to this edge: its port 80 to CT_PORT, or its port 443 to CT_TLS_PORT. The same for every balancer.",
  },
  acmeEmail: {
    env: "CT_ACME_EMAIL",
    type: "text",
    default: undefined,
    pattern: /^[^\s@,<>]{1,64}@[^\s@,<>]{1,253}$/,
    allowed: "an email address",
    roles: ["edge", "balancer"],
    why: "Where the authority may write to about the account; some require it.",
  },
  acmeUrl: {
    env: "CT_ACME_URL",
    type: "text",
    default: "https://acme-v02.api.letsencrypt.org/directory",
    pattern: /^https:\/\/[^\s?#@]+$/,
    allowed: "the https URL of an authority's ACME directory",
    roles: ["edge", "balancer"],
    why: "Directory of the certificate authority (ACME); https://acme-staging-v02.api.letsencrypt.org/directory for a trial.",
  },
  acmeCa: {
    env: "CT_ACME_CA",
    type: "text",
    default: undefined,
    roles: ["edge", "balancer"],
    why: "PEM file with the root of the authority at CT_ACME_URL, when that is your own; it is trusted besides the public ones.",
  },
  acmeEab: {
    env: "CT_ACME_EAB",
    type: "text",
    default: undefined,
    secret: true,
    pattern: BINDING,
    allowed: "the key id and the key that the authority gives, like kid-1:zWNDZM6eQGHWpSRTPal5eA",
    roles: ["edge", "balancer"],
    why: "Binds the account to one that you have with the authority (external account binding), `id:key`.",
  },
} as const satisfies Record<string, Setting>;

/** Names of one certificate; authorities take no more. */
export const MAX_ACME_DOMAINS = 100;
