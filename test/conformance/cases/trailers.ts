/** Trailers (RFC 9110 §6.5): forwarded if they are informational, never if they frame, route or authenticate. */
import { answered, type Case, chunked, forwarded, head, type Subject } from "../case.ts";

const FORBIDDEN = [
  "Transfer-Encoding: chunked",
  "Content-Length: 5",
  "Content-Type: text/html",
  "Content-Encoding: gzip",
  "Host: evil",
  "Connection: close",
  "Trailer: X",
  "Authorization: Basic eDp5",
  "Proxy-Authorization: Basic eDp5",
  "Cookie: ctstickiness=evil",
  "ctstickiness: evil",
  "Cache-Control: no-store",
  "Expect: 100-continue",
  "Range: bytes=0-1",
  "If-Match: x",
  "X-Forwarded-For: 1.2.3.4",
  "X-Real-IP: 1.2.3.4",
  "Forwarded: for=1.2.3.4",
  "x-oct-jwt: t",
];

function withTrailers(...lines: string[]): string {
  return chunked(`2\r\nab\r\n0\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`);
}

const cases: Case[] = [
  forwarded(
    "of a request are forwarded",
    "RFC 9110 §6.5: may be dropped",
    withTrailers("X-Sum: 1", "x-other:2"),
    { body: "ab", trailers: ["x-sum: 1", "x-other: 2"], kind: "choice" },
  ),
  forwarded("do not become header fields", "RFC 9110 §6.5.1", withTrailers("X-Sum: 1"), {
    body: "ab",
    lacks: ["x-sum"],
  }),
  ...FORBIDDEN.map((line) =>
    forwarded(
      `${line.slice(0, line.indexOf(":"))} is not forwarded`,
      "RFC 9110 §6.5.1",
      withTrailers(line),
      {
        body: "ab",
        trailers: [],
        lacks:
          line.startsWith("X-") ||
          line.startsWith("Host") ||
          line.startsWith("Forwarded") ||
          /^(Transfer|Connection|Content-Length)/.test(line)
            ? []
            : [line.slice(0, line.indexOf(":")).toLowerCase()],
      },
    ),
  ),
  forwarded(
    "x-ct-edge is not forwarded",
    "policy: words between balancer and worker",
    withTrailers("x-ct-edge: forged"),
    { trailers: [], kind: "own" },
  ),
  answered(
    "of a response are forwarded",
    "RFC 9110 §6.5",
    head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: X-Sum").concat(
      "2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n",
    ),
    { status: 200, body: "ab", trailers: ["x-sum: 1"], kind: "choice" },
  ),
  answered(
    "Set-Cookie in a response's trailers is not forwarded",
    "RFC 9110 §6.5.1",
    head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked").concat(
      "2\r\nab\r\n0\r\nSet-Cookie: a=b\r\n\r\n",
    ),
    {
      status: 200,
      body: "ab",
      trailers: [],
      lacks: ["set-cookie"],
    },
  ),
  answered(
    "Content-Length in a response's trailers is not forwarded",
    "RFC 9110 §6.5.1",
    head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked").concat(
      "2\r\nab\r\n0\r\nContent-Length: 9\r\n\r\n",
    ),
    {
      status: 200,
      body: "ab",
      trailers: [],
    },
  ),
  answered(
    "are dropped for HTTP/1.0",
    "RFC 9112 §7.1",
    head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked").concat("2\r\nab\r\n0\r\nX: y\r\n\r\n"),
    { status: 200, body: "ab", sends: "GET / HTTP/1.0\r\nHost: h\r\n\r\n", leaves: "closed" },
  ),
];

export const trailers: Subject = { name: "trailers:", cases };
