/** The edge does its whole job as a user that the system does not know, with group 0 and a read-only file system. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { anyUser } from "../support/any-user.ts";
import { startEdge } from "../support/edge-process.ts";
import { expectMainJob } from "../support/people.ts";

test("people do the main job at an edge that runs as any user id with group 0, read-only but for its data directory", async (context) => {
  const user = anyUser();
  if (typeof user === "string") {
    process.stderr.write(`not tested here: ${user}\n`);
    context.skip(user);
    return;
  }
  const edge = await startEdge(user);
  const ids = /^Uid:\s+(\d+)\s[\s\S]*^Gid:\s+(\d+)\s/m.exec(
    readFileSync(`/proc/${edge.pid}/status`, "utf8"),
  );
  expect(ids?.slice(1, 3)).toEqual(["1000660000", "0"]);
  await expectMainJob(edge.httpUrl, 2);
  expect(await edge.stop()).toMatchObject({ status: 0 });
});
