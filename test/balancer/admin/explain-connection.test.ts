/** Over what a request goes to its worker, as `explain` names it: by the same rule that sends it. */
import { expect, test } from "vitest";
import { explainConnection } from "../../../balancer/admin/explain.ts";
import type { LinkState } from "../../../balancer/upstreams/worker-links.ts";

const SOCKET = "/socket.io/?EIO=4&transport=websocket";

test.each<[LinkState, object]>([
  ["open", { over: "link" }],
  ["connecting", { over: "own", why: "connecting" }],
  ["unsupported", { over: "own", why: "unsupported" }],
  ["off", { over: "own", why: "off" }],
])("a WebSocket goes over the link only while a link is open: %s", (state, connection) => {
  expect(explainConnection(SOCKET, [], { state })).toEqual(connection);
});

test.each(["/", "/dashboard/api/events", "/clients/vscode/x.vsix", "/assets/app.js"])(
  "%s goes over a connection of its own, whether there is a link or not",
  (target) => {
    for (const state of ["open", "off"] as const) {
      expect(explainConnection(target, [], { state })).toEqual({ over: "own", why: "path" });
    }
  },
);

test.each<[string, string, object]>([
  ["Content-Length", "65536", { over: "link" }],
  ["Content-Length", "65537", { over: "own", why: "body" }],
  ["content-length", "999999999", { over: "own", why: "body" }],
  ["Transfer-Encoding", "chunked", { over: "own", why: "body" }],
  ["x-oct-jwt", "h.p.s", { over: "link" }],
])(
  "a request of the API with %s: %s goes over the link unless its body is large or of unknown length",
  (name, value, connection) => {
    const fields = [{ name, value }];
    const explained = explainConnection("/api/session/create", fields, { state: "open" });
    expect(explained).toEqual(connection);
  },
);
