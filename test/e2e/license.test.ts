/** The license of a whole cluster: what people see when it is fully used, invalid or missing. Running sessions continue. */
import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { issueLicense, type License } from "../../shared/settings/license.ts";
import { type Cluster, type Member, startCluster } from "../support/cluster.ts";
import { runCommand } from "../support/command.ts";
import { everybodyHears, openSession, person } from "../support/people.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const KEY = publicKey.export({ format: "der", type: "spki" }).toString("base64");

function variables(license: License): Record<string, string> {
  return {
    CT_LICENSE_PUBLIC_KEY: KEY,
    CT_LICENSEE: license.licensee,
    CT_MAXCONNECTIONS: String(license.maxConnections),
    CT_EXPIRATION: license.expiration,
    CT_SIGNATURE: license.signature,
  };
}

const GOOD = issueLicense(
  { licensee: "Us", maxConnections: 4, expiration: "2999/12/31" },
  privateKey,
);

let cluster: Cluster;
let balancer: Member;
beforeAll(async () => {
  cluster = await startCluster({ workers: 2, balancers: 1, env: variables(GOOD) });
  [balancer] = cluster.balancers as [Member];
});

test("each worker logs that its license is valid, in the wording that scripts wait for", () => {
  for (const worker of cluster.workers) {
    expect(worker.output()).toMatch(/^\S+ root INFO Valid CodeTogether license installed$/m);
  }
});

test("beyond the license limit new sessions are refused everywhere, guests can still join, and a freed connection ends it", async () => {
  const first = await openSession({ baseUrl: balancer.url, guestCount: 1 });
  const second = await openSession({ baseUrl: balancer.url, guestCount: 1 });
  const refusal = "All 4 connections of this server's license are in use; try again later";
  // Workers learn of each other's people with the next heartbeat.
  await until("no session begins any more", async () => {
    const late = person({ baseUrl: balancer.url, name: "Late" });
    return late.host().then(
      () => late.leave().then(() => false),
      (error: Error) => error.message.includes(refusal),
    );
  });
  await everybodyHears(first.host, first.guests, "we go on");
  const guest = person({ baseUrl: balancer.url, name: "One more" });
  await guest.join(first.sessionId);
  await everybodyHears(guest, [first.host], "here I am");

  for (const one of [guest, ...second.guests, second.host]) await one.leave();
  await until("a session begins again", async () => {
    const next = person({ baseUrl: balancer.url, name: "Next" });
    return next.host().then(
      () => true,
      () => false,
    );
  });
});

test.each([
  [
    "expired",
    issueLicense({ ...GOOD, expiration: "2020/01/01" }, privateKey),
    "has expired (2020/01/01)",
  ],
  ["forged", { ...GOOD, maxConnections: 400 }, "is not valid"],
])(
  "with an %s license nobody opens a session, and is told why",
  async (_state, license, message) => {
    const other = await startCluster({ workers: 1, balancers: 1, env: variables(license) });
    const host = person({ baseUrl: other.balancers[0]?.url ?? "", name: "Host" });
    await expect(host.host()).rejects.toThrow(
      `The license of this server ${message}; contact its operator`,
    );
    expect(other.workers[0]?.output()).not.toContain("Valid CodeTogether");
    expect(other.workers[0]?.output()).toMatch(/root ERROR the license .*new sessions are refused/);
  },
);

test("a license is issued and verified on the command line", async () => {
  const folder = tempFolder();
  const keyFile = join(folder, "key.pem");
  writeFileSync(keyFile, privateKey.export({ format: "pem", type: "pkcs8" }));
  const terms = ["--licensee", "Us & them", "--max-connections", "9", "--expiration", "2999/12/31"];
  const issued = await runCommand(["license", "issue", ...terms, "--key", keyFile]);
  expect(issued).toMatchObject({ status: 0, stderr: "" });
  const file = join(folder, "licensing.properties");
  writeFileSync(file, issued.stdout);
  const env = { CT_LICENSE_FILE: file, CT_LICENSE_PUBLIC_KEY: KEY };
  expect(await runCommand(["license", "verify"], env)).toEqual({
    status: 0,
    stdout: 'Valid: "Us & them", 9 people in sessions at the same time, until 2999/12/31.\n',
    stderr: "",
  });
  writeFileSync(file, issued.stdout.replace("=9", "=90"));
  expect(await runCommand(["license", "verify"], env)).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("its signature does not match CT_LICENSE_PUBLIC_KEY") as string,
  });
  expect((await runCommand(["license", "verify"])).stdout).toContain("community mode");
  expect(await runCommand(["license", "issue", ...terms, "--key", "/nowhere"])).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/^ct-edge: --key \/nowhere: cannot be used .*\n$/) as string,
  });
});
