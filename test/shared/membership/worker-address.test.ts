/** Under which address others reach a process: what it was told, what it listens on, or how it reaches the store. */
import { describe, expect, test } from "vitest";
import {
  defaultBind,
  type Place,
  reachableUrl,
  workerStatusUrl,
  workerUrl,
} from "../../../shared/membership/worker-address.ts";

const FAR = "10.0.0.7";

test("the default bind address is reachable from the store's machine", () => {
  expect(defaultBind(true)).toBe("127.0.0.1");
  expect(defaultBind(false)).toBe("0.0.0.0");
});

test.each([
  ["0.0.0.0", FAR, `http://${FAR}:3001`],
  ["0.0.0.0", "127.0.0.1", "http://127.0.0.1:3001"],
  ["0.0.0.0", undefined, "http://127.0.0.1:3001"],
  ["::", "fd00::7", "http://[fd00::7]:3001"],
  ["10.9.9.9", FAR, "http://10.9.9.9:3001"],
  ["::1", undefined, "http://[::1]:3001"],
])(
  "the address of a worker bound to %s, with the store reached from %s, is %s",
  (bind, localAddress, url) => {
    expect(reachableUrl({ bind, port: 3001, localAddress })).toBe(url);
  },
);

describe("a worker", () => {
  const told = (url: string | undefined, place: Partial<Place> = {}) =>
    workerUrl({ workerUrl: url, bind: "0.0.0.0", port: 3001, localAddress: FAR, ...place });

  test("a worker announces the configured URL", () => {
    expect(told("http://worker-1.example.com:3001")).toBe("http://worker-1.example.com:3001");
    expect(told("http://[fd00::1]:3001")).toBe("http://[fd00::1]:3001");
    expect(told("http://127.0.0.1:3001", { localAddress: "127.0.0.1" })).toBe(
      "http://127.0.0.1:3001",
    );
  });

  test("a worker announces its local address towards the store by default", () => {
    expect(told(undefined)).toBe(`http://${FAR}:3001`);
  });

  test.each([
    [
      "http://127.0.0.1:3001",
      {},
      /^CT_WORKER_URL=http:\/\/127.0.0.1:3001: the store is on another/,
    ],
    [
      "http://localhost:3001",
      {},
      /set an address that they can reach \(http:\/\/10.0.0.7:3001 is how/,
    ],
    ["http://10.0.0.7:22", {}, /^CT_WORKER_URL=http:\/\/10.0.0.7:22: .* port below 1024/],
    ["http://10.0.0.7", {}, /port below 1024/],
    ["http://0.0.0.0:3001", {}, /no balancer can reach 0\.0\.0\.0/],
    ["http://169.254.169.254:3001", {}, /no balancer can reach 169\.254\.169\.254/],
    ["http://10.0.0.7:99999", {}, /^CT_WORKER_URL=.* is not allowed; use http:\/\/host:port/],
    [undefined, { bind: "127.0.0.1" }, /^CT_WORKER_BIND=127\.0\.0\.1: the store is on another/],
    [
      undefined,
      { localAddress: "fd00::7" },
      /^CT_WORKER_BIND=0\.0\.0\.0: .* set CT_WORKER_BIND=::$/,
    ],
    [undefined, { port: 80 }, /^CT_WORKER_BIND=0\.0\.0\.0: .* port below 1024/],
  ] as const)("a worker that is told %s, at %j, does not start", (url, place, message) => {
    expect(() => told(url, place)).toThrow(message);
    expect(() => told(url, place)).toThrow(expect.objectContaining({ code: "EDGE_SETTING" }));
  });

  test("a worker announces a status port that balancers reach", () => {
    expect(workerStatusUrl({ bind: "0.0.0.0", port: 4001, localAddress: FAR })).toBe(
      `http://${FAR}:4001`,
    );
    expect(() => workerStatusUrl({ bind: "127.0.0.1", port: 4001, localAddress: FAR })).toThrow(
      /^CT_STATUS_BIND=127\.0\.0\.1: the store is on another machine/,
    );
  });
});
