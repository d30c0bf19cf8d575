/** Which members are believed: by their secret and by where they say that they are. */
import { describe, expect, test } from "vitest";
import type { WorkerId } from "../../../shared/base/ids.ts";
import {
  createMemberVerification,
  judgeUrl,
  parseWorkerNetworks,
} from "../../../shared/membership/member-verification.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { balancer, worker } from "../../contract/store.ts";
import { collectingLog } from "../../support/logs.ts";

const OWN_SECRET = "0123abcd";
const LOOPBACK = "its address is loopback, and the store is on another machine";
const NETWORK = "its address is not allowed, see CT_WORKER_NETWORKS";
const PORT = "its port is below 1024";

describe("a URL", () => {
  test.each([
    // --- with nothing listed: private networks ---
    ["http://10.1.2.3:3001", [], false, undefined],
    ["http://[fd00::1]:3001", [], false, undefined],
    ["http://100.64.0.7:3001", [], false, undefined],
    ["http://8.8.8.8:3001", [], false, NETWORK],
    ["http://worker-1:3001", [], false, NETWORK],
    ["http://evil.example.com:3001", [], false, NETWORK],
    ["http://169.254.169.254:3001", [], false, NETWORK],
    ["http://0.0.0.0:3001", [], false, NETWORK],
    // --- loopback: on the store's machine only ---
    ["http://127.0.0.1:3001", [], true, undefined],
    ["http://localhost:3001", [], true, undefined],
    ["http://[::1]:3001", [], true, undefined],
    ["http://127.0.0.1:3001", [], false, LOOPBACK],
    ["http://2130706433:3001", [], false, LOOPBACK],
    ["http://127.0.0.1:3001", ["127.0.0.0/8"], false, LOOPBACK],
    ["http://[::ffff:127.0.0.1]:3001", [], false, LOOPBACK],
    // --- ports of the system, and none ---
    ["http://10.1.2.3:22", [], false, PORT],
    ["http://127.0.0.1:22", [], true, PORT],
    ["http://10.1.2.3:1023", [], false, PORT],
    ["http://10.1.2.3:1024", [], false, undefined],
    ["http://10.1.2.3", [], false, PORT],
    ["http://10.1.2.3:80", [], false, PORT],
    ["http://10.1.2.3:0", [], false, PORT],
    ["http://10.1.2.3:99999", [], false, "its URL is invalid"],
    ["http://[fd00::1:3001", [], false, "its URL is invalid"],
    // --- what is listed, and nothing else ---
    ["http://203.0.113.9:3001", ["203.0.113.0/24"], false, undefined],
    ["http://[::ffff:203.0.113.9]:3001", ["203.0.113.0/24"], false, undefined],
    ["http://203.0.113.9:3001", ["::ffff:203.0.113.0/120"], false, undefined],
    ["http://10.1.2.3:3001", ["203.0.113.0/24"], false, NETWORK],
    ["http://10.1.2.3:3001", ["::ffff:203.0.113.0/120"], false, NETWORK],
    ["http://worker-1:3001", ["worker-1", "worker-2"], false, undefined],
    ["http://WORKER-1:3001", ["Worker-1"], false, undefined],
    ["http://worker-3:3001", ["worker-1", "worker-2"], false, NETWORK],
    ["http://w-7.workers.svc:3001", [".workers.svc"], false, undefined],
    ["http://evil-workers.svc:3001", [".workers.svc"], false, NETWORK],
    ["http://workers.svc.evil.com:3001", [".workers.svc"], false, NETWORK],
    ["http://169.254.169.254:3001", ["0.0.0.0/0"], false, NETWORK],
  ] as const)(
    "the URL %s with the networks %j, on the store's machine: %s, is judged: %s",
    (url, list, isLocal, reason) => {
      expect(judgeUrl(url, parseWorkerNetworks(list), isLocal)).toBe(reason);
    },
  );

  test("an invalid range is a settings error", () => {
    expect(() => parseWorkerNetworks(["10.0.0.0/64"])).toThrow(
      'CT_WORKER_NETWORKS="10.0.0.0/64" is not allowed',
    );
  });
});

function open(localAddress: string | undefined = "10.0.0.1") {
  const { log, lines } = collectingLog();
  const counters = createCounters();
  const store: { localAddress: string | undefined } = { localAddress };
  const admission = createMemberVerification({
    networks: [],
    secretFingerprints: [OWN_SECRET],
    store,
    counters,
    log,
  });
  return { admission, lines, counters, store };
}

function at(id: string, url: string, more: Partial<WorkerRecord> = {}): WorkerRecord {
  return { ...worker(id), url, statusUrl: url, secretFingerprint: OWN_SECRET, ...more };
}

describe("members", () => {
  test("members that are valid are accepted in the same order", () => {
    const { admission, lines } = open();
    const members = [
      at("w2", "http://10.0.0.2:3001"),
      at("w1", "http://10.0.0.3:3001"),
      // Nobody calls a balancer.
      { ...balancer("b"), statusUrl: "http://8.8.8.8:22", secretFingerprint: OWN_SECRET },
    ];
    expect(admission.admit(members)).toEqual(members);
    expect(admission.refused).toEqual([]);
    expect(lines).toEqual([]);
  });

  test("members with another secret are logged once for each id and reason", () => {
    const { admission, lines, counters } = open();
    const stranger = at("w1", "http://10.0.0.2:3001", { secretFingerprint: "ffffffff" });
    const front = { ...balancer("b"), secretFingerprint: "ffffffff" };
    for (let i = 0; i < 3; i++) expect(admission.admit([stranger, front])).toEqual([]);
    const reason = "its CT_SECRET differs";
    expect(admission.refused).toEqual([
      { id: "w1", reason },
      { id: "b", reason },
    ]);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain("ignoring a member");
    expect(lines[0]).toContain("memberId=w1");
    expect(lines[0]).toContain(reason);

    admission.admit([at("w1", "http://10.0.0.2:22")]);
    expect(lines).toHaveLength(3);
    expect(lines[2]).toContain(PORT);
    expect(counters.value("store.ignored", "member")).toBe(3);
  });

  test("members are verified by both of their URLs", () => {
    const { admission } = open();
    admission.admit([
      at("w1", "http://10.0.0.2:3001", { statusUrl: "http://10.0.0.2:22" }),
      at("w2", "http://8.8.8.8:3001", { statusUrl: "http://10.0.0.2:4001" }),
    ]);
    expect(admission.refused).toEqual([
      { id: "w1", reason: PORT },
      { id: "w2", reason: NETWORK },
    ]);
  });

  test("members on loopback are accepted while the store is on this machine, also when it moves", () => {
    const { admission, store } = open("127.0.0.1");
    const local = at("w1", "http://127.0.0.1:3001");
    expect(admission.admit([local])).toEqual([local]);
    store.localAddress = "10.0.0.1";
    expect(admission.admit([local])).toEqual([]);
    store.localAddress = undefined;
    expect(admission.admit([local])).toEqual([local]);
  });

  test("members in any number use bounded memory and log", () => {
    const { admission, lines } = open();
    const hostile = Array.from({ length: 5000 }, (_, i) => at(`evil-${i}`, "http://8.8.8.8:3001"));
    const good = at("w1", "http://10.0.0.2:3001");
    expect(admission.admit([...hostile, good])).toEqual([good]);
    expect(admission.refused).toHaveLength(5000);
    expect(lines).toHaveLength(1000);
    admission.admit(hostile);
    expect(lines).toHaveLength(1000);
  });

  test("members that are gone are no longer listed as refused", () => {
    const { admission } = open();
    admission.admit([at("w1", "http://8.8.8.8:3001")]);
    expect(admission.refused.map(({ id }) => id)).toEqual(["w1" as WorkerId]);
    admission.admit([]);
    expect(admission.refused).toEqual([]);
  });
});
