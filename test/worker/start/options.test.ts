/** The settings as the parts of a worker take them. */
import { expect, test } from "vitest";
import { readSettings, SettingError } from "../../../shared/settings/read-settings.ts";
import { readOptions } from "../../../worker/start/options.ts";

const SECRET = "a secret that has at least 32 characters";

function optionsOf(env: Record<string, string>) {
  const all = { CT_SECRET: SECRET, CT_WORKER_ID: "w1", ...env };
  return readOptions(readSettings({ role: "worker", env: all, flags: {} }));
}

test.each([
  ["4000", "5000", "is 1000 above the worker's port"],
  ["65000", "0", "is any free one when 1000 above the worker's port there is none"],
  ["0", "0", "is any free one when the worker's port is"],
])("with CT_WORKER_PORT=%s the status port is %s: it %s", (port, statusPort) => {
  expect(optionsOf({ CT_WORKER_PORT: port }).ports.statusPort).toBe(Number(statusPort));
  expect(optionsOf({ CT_WORKER_PORT: port, CT_STATUS_PORT: "7" }).ports.statusPort).toBe(7);
});

test.each([
  ["redis://127.0.0.1:6379", "127.0.0.1"],
  ["redis://redis.example.com:6379", "0.0.0.0"],
])("a worker with the store %s listens on %s by default", (url, bind) => {
  const { ports } = optionsOf({ CT_REDIS_URL: url });
  expect([ports.bind, ports.statusBind]).toEqual([bind, bind]);
});

test("a worker with an embedded store is told apart from one with Redis", () => {
  expect(optionsOf({ CT_STORE_SOCKET: "/run/ct.sock" }).isStoreEmbedded).toBe(true);
  expect(optionsOf({ CT_REDIS_URL: "redis://127.0.0.1" }).isStoreEmbedded).toBe(false);
});

test("each part gets the settings that it uses and no others", () => {
  const options = optionsOf({ CT_DASHBOARD_USER: "ops", CT_DASHBOARD_PASSWORD: "let me in" });
  expect(options.credentials).toEqual({
    dashboardUser: "ops",
    dashboardPassword: "let me in",
    logsUser: undefined,
    logsPassword: undefined,
    tokens: [],
  });
  const { credentials: _, secret: __, ...others } = options;
  expect(JSON.stringify(others)).not.toMatch(/let me in|at least 32 characters/);
});

test("a worker without a secret does not start", () => {
  expect(() =>
    readOptions(readSettings({ role: "worker", env: { CT_WORKER_ID: "w1" }, flags: {} })),
  ).toThrow(SettingError);
});
