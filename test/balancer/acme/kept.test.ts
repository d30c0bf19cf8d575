/** What `check` says of the certificate that this machine has kept. */
import { beforeAll, expect, test } from "vitest";
import { describeKept } from "../../../balancer/acme/kept.ts";
import {
  type AcmeRecord,
  type Failure,
  type IssuedCertificate,
  sealRecord,
} from "../../../balancer/acme/record.ts";
import { createRecordCopy } from "../../../balancer/acme/record-copy.ts";
import { storeNameOf } from "../../../balancer/discovery/store-files.ts";
import { onlyKey } from "../../../shared/settings/keyring.ts";
import { deriveKeys } from "../../../shared/settings/secret.ts";
import { silentLog } from "../../support/logs.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { makePairs, type Pair, WANTED } from "./world.ts";

const SECRET = "a secret of at least thirty-two characters";
const DAY_MS = 86_400_000;
const NOW = Date.UTC(2030, 0, 1);
let pair: Pair;

beforeAll(async () => {
  [pair = { cert: "", key: "" }] = await makePairs(1, NOW);
});

function issued(more: Partial<IssuedCertificate> = {}): IssuedCertificate {
  const { directory, domains } = WANTED;
  return { directory, domains, ...pair, orderedMs: NOW, challenge: "http-01", ...more };
}

async function keep(record: AcmeRecord, redisUrl: string | undefined = "redis://a") {
  const folder = tempFolder();
  const settings = { dataDir: folder, redisUrl, redisPrefix: "{ct}:", secret: SECRET };
  const log = silentLog();
  const copy = createRecordCopy({ ...settings, storeName: storeNameOf(settings), log });
  await copy.write(sealRecord(onlyKey(deriveKeys(SECRET).acme), record));
  return settings;
}

test("a certificate is shown with its end and the next order", async () => {
  const settings = await keep({ certificate: issued() });
  expect(await describeKept(settings, WANTED, NOW)).toEqual({
    text: "edge.test, until 2030-04-01T00:00Z, next order 2030-03-02T00:00Z",
  });
  expect(await describeKept(settings, WANTED, NOW + 70 * DAY_MS)).toEqual({
    text: "edge.test, until 2030-04-01T00:00Z, next order now",
  });
});

test("a certificate that was revoked is a problem, and an order that failed is a warning", async () => {
  const renewal = { checkedMs: NOW, nextCheckMs: NOW, isRevoked: true } as const;
  const revoked = await keep({ certificate: issued({ renewal }) });
  const { problem } = await describeKept(revoked, WANTED, NOW);
  expect(problem).toMatch(/^the certificate of CT_ACME_DOMAINS was revoked by its authority/);
  const failure: Failure = {
    kind: "challenge",
    detail: "no route to edge.test",
    ...{ count: 1, wanted: "", failedMs: NOW, retryMs: NOW },
  };
  for (const record of [{ failure }, { certificate: issued(), failure }]) {
    const { warning } = await describeKept(await keep(record), WANTED, NOW);
    expect(warning).toBe(
      "the last order of the certificate of CT_ACME_DOMAINS failed: no route to edge.test",
    );
  }
});

test("nothing is claimed without a copy of a certificate, with that of another store, and with another secret", async () => {
  const settings = await keep({ certificate: issued() });
  const textOf = async (more: Partial<typeof settings>): Promise<string> =>
    (await describeKept({ ...settings, ...more }, WANTED, NOW)).text;
  expect(await textOf({ redisPrefix: "{other}:" })).toMatch(/^none on this machine yet/);
  expect(await textOf({ secret: `another ${SECRET}` })).toBe("cannot be read here: other secret");
});

test("of several writes at once the last one is kept", async () => {
  const settings = await keep({});
  const log = silentLog();
  const copy = createRecordCopy({ ...settings, storeName: storeNameOf(settings), log });
  await Promise.all(["one", "two", "three"].map((text) => copy.write(text)));
  expect(await copy.read()).toBe("three");
});
