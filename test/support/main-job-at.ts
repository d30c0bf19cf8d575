/**
 * Plays the main job against a running edge, in containers or on other machines, with a few concurrent sessions:
 *
 *     npx tsx test/support/main-job-at.ts URL [sessions] [guests]
 *
 * Exits with 0 if all clients saw everything they should, else with 1 and the differences.
 */
import { deepStrictEqual } from "node:assert";
import { type MainJobReport, playMainJob } from "./main-job.ts";

const [url, sessions = "4", guests = "2"] = process.argv.slice(2);
if (url === undefined) throw new Error("usage: main-job-at.ts URL [sessions] [guests]");
const at = { baseUrl: url.replace(/\/$/, "") };
const guestCount = Number(guests);

const startedMs = performance.now();
const outcomes = await Promise.allSettled(
  Array.from({ length: Number(sessions) }, async () => {
    expectEverything(await playMainJob({ host: at, guests: at, guestCount }), guestCount);
  }),
);
const failures = outcomes.filter((outcome) => outcome.status === "rejected");
for (const { reason } of failures) process.stderr.write(`${String(reason)}\n`);
const took = ((performance.now() - startedMs) / 1000).toFixed(1);
const summary = `${outcomes.length - failures.length} of ${outcomes.length} sessions played the main job in ${took} s\n`;
// The package keeps a timer of 30 s for each connection that it has closed.
process.stdout.write(summary, () => process.exit(failures.length === 0 ? 0 : 1));

function expectEverything(report: MainJobReport, count: number): void {
  const names = Array.from({ length: count }, (_, index) => `Guest ${index + 1}`);
  const allNames = ["Host", ...names];
  const lines = allNames.flatMap((name) => [1, 2, 3].map((line) => `${name}, line ${line}`));
  const staying = count > 1 ? names.slice(1) : names;
  const leaving = count > 1 ? ["Guest 1"] : [];
  const othersThan = (name: string): string[] => allNames.filter((other) => other !== name);
  deepStrictEqual(report, {
    sessionId: report.sessionId,
    joinRequests: names,
    initialized: Object.fromEntries(
      names.map((name, index) => [name, [...names.slice(0, index), "Host"].sort()]),
    ),
    answers: {
      ...Object.fromEntries(names.map((name) => [name, "Host:src/main.ts"])),
      Host: "Guest 1:src/main.ts",
    },
    told: {
      Host: names.map((name) => `${name}: for the host only`).sort(),
      ...Object.fromEntries(names.map((name) => [name, ["Host: for one guest only"]])),
    },
    heard: Object.fromEntries(
      allNames.map((name) => [
        name,
        othersThan(name)
          .map((other) => `${other}: for everybody`)
          .sort(),
      ]),
    ),
    documents: Object.fromEntries(allNames.map((name) => [name, lines.toSorted()])),
    documentsEqual: true,
    sawLeave: Object.fromEntries(["Host", ...staying].map((name) => [name, leaving])),
    sawClose: staying,
  } satisfies MainJobReport);
}
