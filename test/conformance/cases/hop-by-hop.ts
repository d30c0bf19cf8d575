/** Hop-by-hop fields (RFC 9110 §7.6.1): removed in both directions, and not usable to remove other fields. */
import { answered, type Case, forwarded, get, head, ok, type Subject } from "../case.ts";

/** Fields that `Connection: name` must not remove: the worker would see another key, host, address or user. */
const PROTECTED = [
  "Cookie: a=b",
  "Authorization: Basic eDp5",
  "ctstickiness: key",
  "Origin: http://o",
  "x-oct-jwt: t",
];

const cases: Case[] = [
  // --- requests ---
  forwarded("Keep-Alive is removed", "RFC 9110 §7.6.1", get("Keep-Alive: timeout=5"), {
    lacks: ["keep-alive"],
    kind: "choice",
  }),
  forwarded("Proxy-Connection is removed", "RFC 9112 App. C.2.2", get("Proxy-Connection: close"), {
    lacks: ["proxy-connection"],
    kind: "choice",
  }),
  forwarded(
    "Proxy-Authorization is removed",
    "RFC 9110 §11.7.1",
    get("Proxy-Authorization: Basic eDp5"),
    { lacks: ["proxy-authorization"], kind: "choice" },
  ),
  forwarded("Proxy is removed", "CVE-2016-5385: httpoxy", get("Proxy: http://evil"), {
    lacks: ["proxy"],
    kind: "choice",
  }),
  forwarded("TE is removed", "RFC 9110 §10.1.4", get("TE: trailers, deflate;q=0.5"), {
    lacks: ["te"],
    kind: "choice",
  }),
  forwarded(
    "TE named by Connection is removed",
    "RFC 9110 §7.6.1",
    get("Connection: TE", "TE: trailers"),
    { lacks: ["te"] },
  ),
  forwarded("Upgrade without Connection is removed", "RFC 9110 §7.8", get("Upgrade: h2c"), {
    lacks: ["upgrade"],
    kind: "choice",
  }),
  forwarded(
    "an upgrade to h2c is ignored",
    "bug class: h2c smuggling",
    get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    { lacks: ["upgrade", "http2-settings"], kind: "choice" },
  ),
  forwarded(
    "a listed field is removed",
    "RFC 9110 §7.6.1",
    get("Connection: X-Hop", "X-Hop: 1", "X-Stay: 2"),
    { lacks: ["x-hop"], has: ["X-Stay: 2"] },
  ),
  forwarded(
    "a listed field in another case is removed",
    "RFC 9110 §7.6.1",
    get("Connection: x-HOP", "X-Hop: 1"),
    { lacks: ["x-hop"] },
  ),
  forwarded(
    "several listed fields are removed",
    "RFC 9110 §7.6.1",
    get("Connection: X-A,X-B , X-C", "X-A: 1", "X-B: 2", "X-C: 3"),
    { lacks: ["x-a", "x-b", "x-c"] },
  ),
  forwarded(
    "fields listed in two Connection fields are removed",
    "RFC 9110 §7.6.1",
    get("Connection: X-A", "X-A: 1", "Connection: X-B", "X-B: 2"),
    { lacks: ["x-a", "x-b"] },
  ),
  forwarded(
    "each of a repeated listed field is removed",
    "RFC 9110 §7.6.1",
    get("X-A: 1", "Connection: X-A", "x-a: 2"),
    { lacks: ["x-a"] },
  ),
  forwarded(
    "empty elements of Connection are ignored",
    "RFC 9110 §5.6.1",
    get("Connection: , ,X-A,,", "X-A: 1"),
    { lacks: ["x-a"] },
  ),
  forwarded(
    "keep-alive is not forwarded to the worker",
    "RFC 9110 §7.6.1",
    get("Connection: keep-alive"),
    {},
  ),
  forwarded("close applies to this connection only", "RFC 9112 §9.6", get("Connection: close"), {
    leaves: "closed",
  }),
  forwarded("close in a list", "RFC 9112 §9.6", get("Connection: x, CLOSE"), { leaves: "closed" }),
  forwarded(
    "close in a second field",
    "RFC 9112 §9.6",
    get("Connection: keep-alive", "Connection: close"),
    { leaves: "closed" },
  ),
  forwarded(
    "HTTP/1.0 closes the connection by default",
    "RFC 9112 §9.3",
    head("GET / HTTP/1.0", "Host: h"),
    { leaves: "closed" },
  ),
  forwarded(
    "HTTP/1.0 may ask to keep the connection",
    "RFC 9112 §9.3",
    head("GET / HTTP/1.0", "Host: h", "Connection: keep-alive"),
    { leaves: "open", client: [{ status: 200, has: ["Connection: keep-alive"] }] },
  ),
  forwarded("Trailer without chunks is removed", "RFC 9110 §6.6.2", get("Trailer: X-Sum"), {
    lacks: ["trailer"],
    kind: "choice",
  }),
  forwarded(
    "Expect of HTTP/1.0 is ignored",
    "RFC 9110 §10.1.1",
    head("GET / HTTP/1.0", "Host: h", "Expect: 100-continue"),
    { leaves: "closed" },
  ),
  ...PROTECTED.map((line) => {
    const name = line.slice(0, line.indexOf(":"));
    return forwarded(
      `${name} cannot be removed`,
      "bug class: hop-by-hop abuse",
      get(`Connection: ${name}`, line),
      { has: [line], kind: "choice" },
    );
  }),
  forwarded("Host cannot be removed", "bug class: hop-by-hop abuse", get("Connection: Host"), {
    has: ["Host: h"],
  }),
  forwarded(
    "Content-Length cannot be removed",
    "bug class: hop-by-hop abuse",
    `${get("Connection: Content-Length", "Content-Length: 4")}abcd`,
    { body: "abcd" },
  ),
  forwarded(
    "Transfer-Encoding cannot be removed",
    "bug class: hop-by-hop abuse",
    `${get("Connection: Transfer-Encoding", "Transfer-Encoding: chunked")}2\r\nab\r\n0\r\n\r\n`,
    { body: "ab" },
  ),
  forwarded(
    "X-Forwarded-For cannot be removed",
    "bug class: hop-by-hop abuse",
    get("Connection: X-Forwarded-For, X-Forwarded-Proto, X-Real-IP"),
    { has: ["X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1"] },
  ),

  // --- responses ---
  answered(
    "Keep-Alive of a worker is removed",
    "RFC 9110 §7.6.1",
    ok("x", "Keep-Alive: timeout=1"),
    { status: 200, lacks: ["keep-alive"], kind: "choice" },
  ),
  answered(
    "Proxy-Connection of a worker is removed",
    "RFC 9112 App. C.2.2",
    ok("x", "Proxy-Connection: close"),
    { status: 200, lacks: ["proxy-connection"], kind: "choice" },
  ),
  answered(
    "Upgrade of a worker is removed",
    "RFC 9110 §7.8",
    ok("x", "Connection: Upgrade", "Upgrade: h2c"),
    { status: 200, lacks: ["upgrade"], kind: "choice" },
  ),
  answered(
    "fields that a worker's Connection lists are removed",
    "RFC 9110 §7.6.1",
    ok("x", "Connection: X-Hop", "X-Hop: 1", "X-Stay: 2"),
    {
      status: 200,
      lacks: ["x-hop"],
      has: ["X-Stay: 2"],
    },
  ),
  answered(
    "close of a worker does not close the client's connection",
    "RFC 9112 §9.3",
    { bytes: ok("x", "Connection: close"), closes: "end" },
    { status: 200, body: "x" },
  ),
  answered(
    "Set-Cookie of a worker cannot be removed",
    "bug class: hop-by-hop abuse",
    ok("x", "Connection: Set-Cookie", "Set-Cookie: a=b"),
    { status: 200, has: ["Set-Cookie: a=b"], kind: "choice" },
  ),
];

export const hopByHop: Subject = { name: "a hop-by-hop field:", cases };
