import { expect, test } from "vitest";
import { type Running, summarize } from "../../edge/summary.ts";

const running: Running = {
  version: "1.2.3",
  httpPort: 1080,
  tlsPort: 1443,
  selfSigned: "/data/tls/cert.pem",
  serverUrl: undefined,
  workers: [
    { id: "worker-1", port: 3001 },
    { id: "worker-2", port: 3002 },
  ],
  isShared: false,
  loginSimple: true,
  loginApiKey: false,
  dataDir: "/data",
  logFile: "/data/logs/server.log",
};

test("the summary tells where the edge is, how to sign in and how to stop", () => {
  expect(summarize(running)).toBe(`
CodeTogether edge 1.2.3 is ready

  HTTP       http://localhost:1080
  HTTPS      https://localhost:1443  (self-signed: /data/tls/cert.pem)
  In the IDE set the server URL of Open Collaboration Tools to http://localhost:1080
  Sign in    by name, unchecked (CT_LOGIN_SIMPLE=false turns it off)
  Workers    worker-1 on 127.0.0.1:3001, worker-2 on 127.0.0.1:3002
  Data, log  /data, /data/logs/server.log
  Stop       Ctrl-C; sessions go on when it is started again within 20 s

`);
});

test("one of several with a shared store has workers that others reach, and keeps no sessions", () => {
  const text = summarize({ ...running, isShared: true });
  expect(text).toContain("Workers    worker-1 on port 3001, worker-2 on port 3002\n");
  expect(text).toContain("Ctrl-C; sessions go to workers of other machines\n");
});

test("with a certificate of one's own, the IDE is given HTTPS", () => {
  const text = summarize({ ...running, selfSigned: undefined });
  expect(text).toContain("Open Collaboration Tools to https://localhost:1443\n");
  expect(text).not.toContain("self-signed");
});

test("an edge that nobody can sign in to says so", () => {
  expect(summarize({ ...running, loginSimple: false })).toContain(
    "nobody can: set CT_LOGIN_SIMPLE or CT_LOGIN_API_KEY",
  );
});
