import { expect, test } from "vitest";
import { type Running, summarize } from "../../../edge/start/summary.ts";

const running: Running = {
  version: "1.2.3",
  bind: undefined,
  httpPort: 1080,
  tlsPort: 1443,
  selfSigned: "/data/tls/cert.pem",
  serverUrl: undefined,
  workers: [
    { id: "worker-1", port: 3001 },
    { id: "worker-2", port: 3002 },
  ],
  isShared: false,
  identityProviders: [],
  loginSimple: true,
  loginApiKey: false,
  dashboard: undefined,
  pluginSources: [],
  clientsDir: "/data/clients",
  dataDir: "/data",
  logFile: "/data/logs/server.log",
};

test("the summary has the addresses of the edge, how to sign in and how to stop", () => {
  expect(summarize(running)).toBe(`
CodeTogether edge 1.2.3 is ready

  Web page   http://localhost:1080/
  Dashboard  http://localhost:1080/dashboard  (user ctuser, password in /data/logs/server.log; set CT_DASHBOARD_USER and CT_DASHBOARD_PASSWORD for others)
  In the IDE set the server URL of Open Collaboration Tools to http://localhost:1080
  Sign in    by name, unchecked (CT_LOGIN_SIMPLE=false turns it off)
  HTTP       http://localhost:1080
  HTTPS      https://localhost:1443  (self-signed: /data/tls/cert.pem)
  Workers    worker-1 on 127.0.0.1:3001, worker-2 on 127.0.0.1:3002
  Data, log  /data, /data/logs/server.log
  Stop       Ctrl-C; sessions continue when it is started again within 20 s

`);
});

test("the summary says where to get each plugin that is not offered, and in which folder it belongs", () => {
  const pluginSources = ["VS Code: from the Marketplace", "Theia: built in"];
  expect(summarize({ ...running, pluginSources })).toContain(`
  Plugins    VS Code: from the Marketplace
             Theia: built in
             to offer them at /clients, put the files into /data/clients
`);
});

test("the summary of an edge with a shared store has the workers' public ports, and says that sessions move on stop", () => {
  const text = summarize({ ...running, isShared: true });
  expect(text).toContain("Workers    worker-1 on port 3001, worker-2 on port 3002\n");
  expect(text).toContain("Ctrl-C; sessions move to workers of other machines\n");
});

test("with a certificate of the operator, the summary gives the IDE the HTTPS address", () => {
  const text = summarize({ ...running, selfSigned: undefined });
  expect(text).toContain("Open Collaboration Tools to https://localhost:1443\n");
  expect(text).not.toContain("self-signed");
});

test("the summary of an edge without a way to sign in says so", () => {
  expect(summarize({ ...running, loginSimple: false })).toContain(
    "disabled; set CT_OIDC_ISSUER, CT_LOGIN_SIMPLE or CT_LOGIN_API_KEY",
  );
});

test("the summary names the identity providers first", () => {
  const identityProviders = ["Company account", "GitHub"];
  expect(summarize({ ...running, identityProviders, loginSimple: false })).toContain(
    "Sign in    with Company account, with GitHub\n",
  );
});

test("the summary names the configured dashboard user and the variable of the password", () => {
  const dashboard = { user: "ops", passwordSetting: "CT_LOGS_PASSWORD" };
  expect(summarize({ ...running, dashboard })).toContain(
    "Dashboard  http://localhost:1080/dashboard  (user ops, password of CT_LOGS_PASSWORD)\n",
  );
});

test("the summary has the page and the dashboard under the external URL and its path", () => {
  const text = summarize({ ...running, serverUrl: "https://edge.example/pair/" });
  expect(text).toContain("Web page   https://edge.example/pair/\n");
  expect(text).toContain("Dashboard  https://edge.example/pair/dashboard  (");
});

test("the summary of an edge that listens on one address has that address", () => {
  expect(summarize({ ...running, bind: "192.0.2.7" })).toContain("http://192.0.2.7:1080/\n");
  expect(summarize({ ...running, bind: "2001:db8::7" })).toContain("http://[2001:db8::7]:1080/\n");
});

test("with a shared store the summary refers to the log of the edge that was started first for the password", () => {
  expect(summarize({ ...running, isShared: true })).toContain(
    "user ctuser, password in server.log of the edge that was started first",
  );
});
