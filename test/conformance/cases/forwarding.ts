/** The identity of the client: claims of an untrusted client are replaced, or only kept before the address that we saw. */
import { type Case, forwarded, get, type Kind, played, type Subject } from "../case.ts";

/** The worker must get the field exactly once, with a matching value. */
function becomes(
  name: string,
  source: string,
  sent: string,
  lower: string,
  value: RegExp,
  kind: Kind = "own",
): Case {
  return played(
    name,
    source,
    async (stage) => {
      await stage.send(get(sent));
      const [request] = await stage.requestsCome(1);
      const lines = (request?.fields ?? []).filter((line) =>
        line.toLowerCase().startsWith(`${lower}:`),
      );
      const values = lines.map((line) => line.slice(lower.length + 1).trim());
      stage.check(values.length === 1 && value.test(values[0] ?? ""), `got ${lines.join(" | ")}`);
    },
    { kind },
  );
}

const strangerCases: Case[] = [
  forwarded("the address", "policy: who the client is", get(), {
    has: ["X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1"],
  }),
  forwarded("the host", "policy: who the client is", get(), { has: ["X-Forwarded-Host: h"] }),
  becomes(
    "Forwarded",
    "RFC 7239 §4",
    "A: b",
    "forwarded",
    /^for=127\.0\.0\.1;host="h";proto=https?$/,
  ),
  forwarded(
    "a forged address precedes the real one",
    "policy: who the client is",
    get("X-Forwarded-For: 1.2.3.4"),
    { has: ["X-Forwarded-For: 1.2.3.4, 127.0.0.1"], kind: "choice" },
  ),
  forwarded(
    "forged addresses in two fields precede the real one",
    "policy: who the client is",
    get("X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2"),
    { has: ["X-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1"], kind: "choice" },
  ),
  forwarded(
    "an empty X-Forwarded-For adds nothing",
    "policy: who the client is",
    get("X-Forwarded-For:"),
    { has: ["X-Forwarded-For: 127.0.0.1"], kind: "choice" },
  ),
  becomes(
    "a forged scheme is replaced",
    "policy: who the client is",
    "X-Forwarded-Proto: gopher",
    "x-forwarded-proto",
    /^https?$/,
    "rule",
  ),
  forwarded(
    "a forged host is replaced",
    "policy: who the client is",
    get("X-Forwarded-Host: evil"),
    { has: ["X-Forwarded-Host: h"] },
  ),
  forwarded(
    "a forged X-Real-IP is replaced",
    "policy: who the client is",
    get("X-Real-IP: 1.2.3.4"),
    { has: ["X-Real-IP: 127.0.0.1"] },
  ),
  becomes(
    "a forged Forwarded is replaced",
    "RFC 7239 §8.1",
    "Forwarded: for=1.2.3.4",
    "forwarded",
    /^for=127\.0\.0\.1;host="h";proto=https?$/,
  ),
  forwarded(
    "a forged x-ct-edge is removed",
    "policy: words between balancer and worker",
    get("x-ct-edge: forged", "x-ct-session: s", "x-ct-anything: x"),
    { lacks: ["x-ct-session", "x-ct-anything"], kind: "own" },
  ),
  becomes(
    "a forged request id is replaced",
    "bug class: log injection",
    "x-request-id: forged",
    "x-request-id",
    /^[0-9a-f]{12}-[0-9a-z]+$/,
  ),
];

export const strangers: Subject = { name: "an untrusted client:", cases: strangerCases };

const trustedCases: Case[] = [
  forwarded(
    "its chain is kept and its address appended",
    "policy: who the client is",
    get("X-Forwarded-For: 1.2.3.4"),
    { has: ["X-Forwarded-For: 1.2.3.4, 127.0.0.1", "X-Real-IP: 1.2.3.4"], kind: "own" },
  ),
  forwarded(
    "the last untrusted address is the client's",
    "policy: who the client is",
    get("X-Forwarded-For: 6.6.6.6, 1.2.3.4, 127.0.0.1"),
    { has: ["X-Real-IP: 1.2.3.4"], kind: "own" },
  ),
  forwarded("its scheme is kept", "policy: who the client is", get("X-Forwarded-Proto: https"), {
    has: ["X-Forwarded-Proto: https"],
    kind: "own",
  }),
  forwarded("its host is kept", "policy: who the client is", get("X-Forwarded-Host: outside"), {
    has: ["X-Forwarded-Host: outside"],
    kind: "own",
  }),
  ...(
    [
      ["1.2.3.4:50718", "1.2.3.4"],
      ["[2001:db8::9]:443", "2001:db8::9"],
      ["[2001:db8::9]", "2001:db8::9"],
      ['"[2001:db8::9]:443"', "2001:db8::9"],
      ["fe80::9%eth0", "fe80::9"],
      ["::ffff:1.2.3.4", "1.2.3.4"],
      ["1.2.3.4:50718, ::ffff:127.0.0.1", "1.2.3.4"],
      ["1.2.3.4, unknown", "127.0.0.1"],
    ] as const
  ).map(([said, address]) =>
    forwarded(
      `X-Forwarded-For: ${said} names ${address}`,
      "RFC 7239 §6",
      get(`X-Forwarded-For: ${said}`),
      { has: [`X-Forwarded-For: ${said}, 127.0.0.1`, `X-Real-IP: ${address}`], kind: "own" },
    ),
  ),
  forwarded(
    "its Forwarded is read",
    "RFC 7239 §4",
    get('Forwarded: for=6.6.6.6, For="[2001:db8::9]:443";Proto=https;Host="edge.example"'),
    {
      has: [
        "X-Forwarded-For: 6.6.6.6, 2001:db8::9, 127.0.0.1",
        "X-Real-IP: 2001:db8::9",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: edge.example",
      ],
      kind: "own",
    },
  ),
  becomes(
    "a Forwarded with an open quote, which would hide ours, is not forwarded",
    "RFC 7239 §8.1",
    'Forwarded: for="1.2.3.4',
    "forwarded",
    /^for=127\.0\.0\.1;host="h";proto=https?$/,
  ),
  forwarded(
    "its X-Real-IP is ignored if there is X-Forwarded-For",
    "bug class: fields that a proxy hands on as its client made them up",
    get("X-Real-IP: 6.6.6.6", "X-Forwarded-For: 1.2.3.4"),
    { has: ["X-Real-IP: 1.2.3.4"], kind: "own" },
  ),
  ...(
    [
      ["wss", "https"],
      ["ws", "http"],
      ["HTTPS", "https"],
      ["https,http", "https"],
    ] as const
  ).map(([said, proto]) =>
    forwarded(
      `its scheme ${said} means ${proto}`,
      "policy: who the client is",
      get(`X-Forwarded-Proto: ${said}`),
      { has: [`X-Forwarded-Proto: ${proto}`], kind: "own" },
    ),
  ),
  becomes(
    "its Forwarded is kept and ours appended",
    "RFC 7239 §4",
    "Forwarded: for=1.2.3.4",
    "forwarded",
    /^for=1\.2\.3\.4, for=127\.0\.0\.1;host="h";proto=https?$/,
  ),
];

export const trustedProxies: Subject = {
  name: "a trusted proxy:",
  trusted: ["127.0.0.1"],
  cases: trustedCases,
};
