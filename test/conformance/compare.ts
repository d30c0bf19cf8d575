/**
 * `npm run conformance` plays the whole set against our balancer, and with `--peers` also against nginx and HAProxy, which
 * reveals unfair expectations. Prints a table of the results and each difference (`--quiet`: only the table).
 */
import { spawnSync } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { generate } from "selfsigned";
import type { PemPair } from "../support/certificates.ts";
import { tempFolder } from "../support/temp-folder.ts";
import type { Case, Subject } from "./case.ts";
import { judge } from "./judge.ts";
import { startWorkers, type Target, type Workers } from "./stage.ts";
import { SUBJECTS } from "./subjects.ts";
import { startHaproxy } from "./targets/haproxy.ts";
import { startNginx } from "./targets/nginx.ts";
import { startOurs } from "./targets/ours.ts";
import { isInstalled, type PeerFiles } from "./targets/peer.ts";

type Start = (subject: Subject, workers: Workers) => Promise<Target>;

interface Result {
  readonly subject: Subject;
  readonly one: Case;
  readonly wrong: readonly string[];
}

const { values: options } = parseArgs({
  options: {
    peers: { type: "boolean", default: false },
    tls: { type: "boolean", default: false },
    quiet: { type: "boolean", default: false },
  },
});

const folder = tempFolder();
try {
  await compare(await makeCertificate());
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function compare(certificate: PemPair & PeerFiles): Promise<void> {
  const targets: [name: string, start: Start][] = [
    ["ours", (subject, workers) => startOurs(subject, workers, certificate)],
  ];
  if (options.peers) {
    for (const name of ["nginx", "haproxy"]) install(name);
    if (isInstalled("nginx")) {
      targets.push(["nginx", (subject, workers) => startNginx(subject, workers, certificate)]);
    }
    if (isInstalled("haproxy")) {
      targets.push(["haproxy", (subject, workers) => startHaproxy(subject, workers, certificate)]);
    }
  }
  const table: string[] = [];
  const byTarget = new Map<string, Result[]>();
  // In parallel, because most of the time is spent waiting for bytes that a peer never sends.
  const all = await Promise.all(
    targets.map(async ([name, start]) => [name, await playAll(name, start)] as const),
  );
  for (const [name, results] of all) {
    byTarget.set(name, results);
    table.push(summary(name, results));
    if (!options.quiet) printDifferences(name, results);
    if (name === "ours" && results.some(({ wrong }) => wrong.length > 0)) process.exitCode = 1;
  }
  const header =
    "balancer  rules passed  rules failed  choices the same  choices different  own promises\n";
  process.stdout.write(`\n${header}${table.join("\n")}\n`);
  const [, nginx, haproxy] = [...byTarget.values()];
  if (nginx !== undefined && haproxy !== undefined) printFailedByBoth(nginx, haproxy);
}

async function playAll(name: string, start: Start): Promise<Result[]> {
  const results: Result[] = [];
  for (const subject of SUBJECTS) {
    process.stderr.write(`${name}: ${subject.name}\n`);
    const cases =
      name === "ours" ? subject.cases : subject.cases.filter(({ kind }) => kind !== "own");
    if (cases.length === 0) continue;
    const workers = await startWorkers(subject.workers ?? 1);
    const target = await start(subject, workers);
    for (const one of cases) {
      results.push({ subject, one, wrong: await judge(one, target, options.tls, workers) });
    }
    await target.close();
    await workers.close();
  }
  return results;
}

function summary(name: string, results: readonly Result[]): string {
  const count = (kind: Case["kind"], passed: boolean) =>
    results.filter(({ one, wrong }) => one.kind === kind && (wrong.length === 0) === passed).length;
  const own = name === "ours" ? String(count("own", true)) : "-";
  return [
    name.padEnd(10),
    String(count("rule", true)).padEnd(14),
    String(count("rule", false)).padEnd(14),
    String(count("choice", true)).padEnd(18),
    String(count("choice", false)).padEnd(19),
    own,
  ].join("");
}

function printDifferences(name: string, results: readonly Result[]): void {
  process.stdout.write(`\n${name}:\n`);
  for (const { subject, one, wrong } of results) {
    if (wrong.length === 0) continue;
    const title = `${subject.name} ${one.name} (${one.source})`;
    process.stdout.write(
      `  ${one.kind}: ${title}\n${wrong.map((text) => `    ${text}\n`).join("")}`,
    );
  }
}

/** A rule that both peers fail may be an unfair expectation. */
function printFailedByBoth(nginx: readonly Result[], haproxy: readonly Result[]): void {
  process.stdout.write("\nrules that both nginx and HAProxy break:\n");
  for (const [index, { subject, one, wrong }] of nginx.entries()) {
    const both = wrong.length > 0 && (haproxy[index]?.wrong.length ?? 0) > 0;
    if (both && one.kind === "rule") {
      process.stdout.write(`  ${subject.name} ${one.name} (${one.source})\n`);
    }
  }
}

function install(name: string): void {
  if (isInstalled(name)) return;
  if (process.getuid?.() !== 0) {
    process.stderr.write(
      `${name} is not installed and is skipped; install it with sudo apt-get install ${name}\n`,
    );
    return;
  }
  const args = ["install", "-y", "-q", "--no-install-recommends", name];
  // RUNLEVEL=1 keeps Debian's package from starting a server on the standard port.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  spawnSync("apt-get", args, { stdio: ["ignore", 2, 2], env });
}

async function makeCertificate(): Promise<PemPair & PeerFiles> {
  const made = await generate([{ name: "commonName", value: "localhost" }], { keySize: 2048 });
  const certFile = join(folder, "cert.pem");
  const keyFile = join(folder, "key.pem");
  await writeFile(certFile, made.cert);
  await writeFile(keyFile, made.private);
  return { cert: made.cert, key: made.private, certFile, keyFile };
}
