/**
 * Does `ct-edge verify` name each fault of a set-up, behind each front, and find none in a good one? Two balancers, two workers
 * and a Redis, with nginx, HAProxy and Caddy in front in turn; each fault is planted alone.
 *
 * `VERIFY_ONLY=nginx|idle` selects rows by parts of their names.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generate } from "selfsigned";
import type { VerifyAnswer } from "../edge/verify/report.ts";
import { buildOnce } from "../test/support/build.ts";
import type { Cluster } from "../test/support/cluster.ts";
import { runCommand } from "../test/support/command.ts";
import {
  INSIDE_FAULTS,
  type InsideFault,
  OPERATOR_TOKEN,
  plant,
  startVerifiedCluster,
} from "../test/support/planted-faults.ts";
import { freePort } from "../test/support/ports.ts";
import { type Result, writeResults } from "./support/results.ts";
import { isPart, selector } from "./support/sizes.ts";
import { summarize } from "./support/statistics.ts";
import {
  FRONT_FAULTS,
  FRONT_KINDS,
  type FrontFault,
  type FrontKind,
  isInstalled,
  startFrontKind,
} from "./support/verify-fronts.ts";

const DAY_MS = 86_400_000;
const WRONG_URL = "wrong CT_SERVER_URL";
const isAsked = selector("VERIFY_ONLY", {
  short: ["nginx", "HAProxy", "Caddy"].map((front) => `${front} buffering proxy`),
});
/** Longer than any run may take. */
const KILL_MS = 120_000;

/** What else a fault breaks: Caddy 2.6 waits for the end of an upgrade's request too when it buffers. */
const CONSEQUENCES: Readonly<Record<string, readonly string[]>> = {
  "buffering proxy": ["websocket"],
};

interface Row {
  readonly front: FrontKind;
  readonly name: string;
  /** One of these checks must be broken; none for a good set-up. */
  readonly expected: readonly string[];
  readonly frontFault?: FrontFault;
  readonly insideFault?: InsideFault;
}

export async function run(): Promise<void> {
  await buildOnce();
  // One for each process that is started.
  process.setMaxListeners(50);
  const folder = mkdtempSync(join(tmpdir(), "verify-bench-"));
  const cluster = await startVerifiedCluster();
  const strange = await startVerifiedCluster({ CT_SERVER_URL: "https://old.example.com" });
  let judged = 0;
  let missed = 0;
  process.stdout.write(
    `${["front", "planted", "named", "also", "took"].map((title, i) => title.padEnd(WIDTHS[i] ?? 0)).join("  ")}\n`,
  );
  try {
    const certificates = await makeCertificates(folder);
    for (const row of rows()) {
      if (!isInstalled(row.front)) {
        process.stdout.write(`${row.front.name} is not installed and is skipped\n`);
        continue;
      }
      judged++;
      const edge = row.name === WRONG_URL ? strange : cluster;
      if (!(await isNamed(row, edge, join(folder, row.front.program), certificates))) missed++;
    }
  } finally {
    await Promise.all([cluster.dispose(), strange.dispose()]);
    rmSync(folder, { recursive: true, force: true });
  }
  process.stdout.write(`missed: ${missed}\n`);
  const one = (question: string, value: number): Result => ({
    question,
    unit: "set-ups",
    figures: { ours: summarize([value]) },
  });
  if (!isPart("VERIFY_ONLY")) {
    writeResults("verify", [
      one("set-ups with a planted fault or none", judged),
      one("set-ups judged wrongly (limit 0)", missed),
    ]);
  }
  if (missed > 0) process.exitCode = 1;
}

function rows(): Row[] {
  const all = FRONT_KINDS.flatMap((front): Row[] => [
    { front, name: "nothing", expected: [] },
    ...(Object.keys(FRONT_FAULTS) as FrontFault[]).map((name) => ({
      front,
      name,
      frontFault: name,
      expected: FRONT_FAULTS[name],
    })),
    ...(Object.keys(INSIDE_FAULTS) as InsideFault[]).map((name) => ({
      front,
      name,
      insideFault: name,
      expected: [INSIDE_FAULTS[name]],
    })),
    { front, name: WRONG_URL, expected: ["server-url"] },
  ]);
  return all.filter(({ front, name }) => isAsked(`${front.name} ${name}`));
}

interface Certificates {
  readonly valid: Files;
  readonly expired: Files;
}

interface Files {
  readonly cert: string;
  readonly key: string;
  /** Both in one file. */
  readonly both: string;
}

async function makeCertificates(folder: string): Promise<Certificates> {
  const make = async (name: string, from: number, days: number): Promise<Files> => {
    const made = await generate([{ name: "commonName", value: "localhost" }], {
      notBeforeDate: new Date(from),
      notAfterDate: new Date(from + days * DAY_MS),
      extensions: [{ name: "subjectAltName", altNames: [{ type: 2, value: "localhost" }] }],
    });
    const files = {
      cert: join(folder, `${name}.crt`),
      key: join(folder, `${name}.key`),
      both: join(folder, `${name}.pem`),
    };
    writeFileSync(files.cert, made.cert);
    writeFileSync(files.key, made.private);
    writeFileSync(files.both, `${made.cert}\n${made.private}`);
    return files;
  };
  const now = Date.now();
  return {
    valid: await make("valid", now - DAY_MS, 300),
    expired: await make("expired", now - 10 * DAY_MS, 7),
  };
}

async function isNamed(
  row: Row,
  cluster: Cluster,
  folder: string,
  certificates: Certificates,
): Promise<boolean> {
  const tls = row.name === "expired certificate" ? certificates.expired : certificates.valid;
  // Over plain HTTP the good set-up would have no certificate to be judged.
  const isSecure = row.name === "nothing" || row.name === "expired certificate";
  const front = await startFrontKind(row.front, {
    port: await freePort(),
    balancers: cluster.balancers.map(({ port }) => port),
    folder,
    fault: row.frontFault,
    tls: isSecure ? tls : undefined,
  });
  const remove = row.insideFault === undefined ? undefined : await plant(cluster, row.insideFault);
  try {
    const needsSilence = row.name === "nothing" || row.name === "30 s idle cut";
    const { stdout, stderr } = await runCommand(
      [
        "verify",
        front.url,
        "--json",
        ...["--redis", cluster.redisUrl, "--token", OPERATOR_TOKEN, "--ca", tls.cert],
        ...(needsSilence ? [] : ["--quick"]),
      ],
      {},
      KILL_MS,
    );
    if (stdout === "") throw new Error(stderr);
    return printRow(row, JSON.parse(stdout) as VerifyAnswer);
  } finally {
    await remove?.();
    await front.end();
  }
}

const WIDTHS = [8, 38, 42, 24, 7];

function printRow(row: Row, { findings, tookMs }: VerifyAnswer): boolean {
  const broken = findings.filter(({ state }) => state === "broken").map(({ id }) => id as string);
  const named = broken.filter((id) => row.expected.includes(id));
  const also = broken.filter((id) => !row.expected.includes(id));
  const isGood = row.expected.length === 0;
  const unknown = isGood ? findings.filter(({ state }) => state === "unknown") : [];
  const isRight = isGood
    ? broken.length === 0 && unknown.length === 0
    : named.length > 0 && findings.every(({ state, cure }) => state !== "broken" || cure !== "");
  const verdict = isGood ? (isRight ? "all held" : "NOT ALL HELD") : named.join(", ") || "MISSED";
  const others = [...also, ...unknown.map(({ id }) => `${id}?`)].join(", ") || "-";
  const cells = [row.front.name, row.name, verdict, others, `${(tookMs / 1000).toFixed(1)} s`];
  process.stdout.write(
    `${cells
      .map((cell, i) => cell.padEnd(WIDTHS[i] ?? 0))
      .join("  ")
      .trimEnd()}\n`,
  );
  return isRight && also.every((id) => CONSEQUENCES[row.name]?.includes(id));
}
