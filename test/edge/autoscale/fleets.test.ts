/** What `ct-edge autoscale --compose` asks of docker compose: a script that stands for it notes its arguments. */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { composeFleet } from "../../../edge/autoscale/fleets.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { tempFolder } from "../../support/temp-folder.ts";

const WISH = {
  outcome: "wish",
  wish: { wanted: 3, by: "cpu", needs: { sessions: 0, connections: 0, cpu: 2.4, lag: 0 } },
  workers: ["0123456789ab"],
};

function folderOfTest(): string {
  const path = tempFolder();
  return path;
}

/** `script`: what it does after noting its arguments. */
function compose(script: string) {
  const folder = folderOfTest();
  const docker = join(folder, "docker");
  writeFileSync(docker, `#!/bin/sh\necho "$@" >> "${folder}/asked"\n${script}\n`);
  chmodSync(docker, 0o755);
  return {
    fleet: composeFleet({ folder, holder: "host-1" as WorkerId, periodMs: 15_000, docker }),
    asked: () => readFileSync(join(folder, "asked"), "utf8").trimEnd().split("\n"),
  };
}

test("workers are counted by their containers, whose ids begin with the workers' names", async () => {
  const { fleet, asked } = compose(`echo 0123456789abcdef0123; echo fedcba9876543210fedc`);
  expect(await fleet.workers()).toEqual(["0123456789ab", "fedcba987654"]);
  expect(asked()).toEqual(["compose ps --quiet worker"]);
});

test("the wish comes from ct-edge in the balancer's container", async () => {
  const { fleet, asked } = compose(`echo '${JSON.stringify(WISH)}'`);
  expect(await fleet.ask()).toEqual(WISH);
  expect(asked()).toEqual([
    "compose exec --no-TTY balancer ct-edge autoscale --as host-1 --every 15 --ask",
  ]);
});

test("scaling changes the number of workers, and no container that runs", async () => {
  const { fleet, asked } = compose("");
  await fleet.scale(4);
  expect(asked()).toEqual(["compose up --detach --no-deps --no-recreate --scale worker=4 worker"]);
});

test("the last line of what docker compose complains about is the error", async () => {
  const { fleet } = compose("echo one >&2; echo 'no such service: worker' >&2; exit 14");
  await expect(fleet.scale(2)).rejects.toThrow("compose up: no such service: worker");
});

test("an autoscaler that ends waits for its change, then lets the next one begin", async () => {
  const { fleet, asked } = compose("");
  await Promise.all([fleet.scale(3), fleet.resign()]);
  expect(asked().at(-1)).toBe(
    "compose exec --no-TTY balancer ct-edge autoscale --as host-1 --every 15 --resign",
  );
});

test.each([
  { what: "another form", script: "echo '{}'" },
  { what: "text", script: "echo starting" },
])("an answer of the autoscaler in $what is an error that says what to do", async ({ script }) => {
  const { fleet } = compose(script);
  await expect(fleet.ask()).rejects.toThrow("the balancer's image has another version");
});

test("a docker program that is not there is named", async () => {
  const folder = folderOfTest();
  const fleet = composeFleet({
    folder,
    holder: "h" as WorkerId,
    periodMs: 1000,
    docker: "/no/docker",
  });
  await expect(fleet.workers()).rejects.toThrow(`/no/docker cannot be run in ${folder}: spawn`);
});
