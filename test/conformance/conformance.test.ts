import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeCertificate } from "../support/certificates.ts";
import { judge } from "./judge.ts";
import { startWorkers, type Workers } from "./stage.ts";
import { SUBJECTS } from "./subjects.ts";
import { type OwnTarget, startOurs } from "./targets/ours.ts";

const certificate = await makeCertificate();

describe.each([
  ["HTTP", false, false],
  ["HTTPS", true, false],
  ["HTTP, with links to the workers", false, true],
] as const)("over %s", (_name, secure, isLinked) => {
  describe.each(SUBJECTS)("$name", (subject) => {
    let workers: Workers;
    let target: OwnTarget;

    beforeAll(async () => {
      workers = await startWorkers(subject.workers ?? 1);
      target = await startOurs(subject, workers, certificate, isLinked);
    });

    afterAll(async () => {
      await target.close();
      await workers.close();
    });

    test.each(subject.cases)("the balancer handles $name as expected ($source)", async (one) => {
      expect(await judge(one, target, secure, workers)).toEqual([]);
      expect(target.bugs).toEqual([]);
    });
  });
});
