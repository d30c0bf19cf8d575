/** What of the packages for certificates a balancer loads, and when. */
import { readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { buildOnce } from "../../support/build.ts";
import { bundledModules, loadedModules } from "../../support/bundle.ts";

const PACKAGES = ["acme-client", "axios", "@peculiar/x509"];

beforeAll(buildOnce, 60_000);

test.each(PACKAGES)(
  "a balancer does not load %s, which its thread does, and its license is included",
  (name) => {
    const isOf = (module: string): boolean => module.includes(`/${name}/`);
    expect(loadedModules("dist/balancer/main.js").filter(isOf)).toEqual([]);
    expect(loadedModules("dist/balancer/acme/ca-thread.js").filter(isOf)).not.toEqual([]);
    expect(bundledModules().filter(isOf)).not.toEqual([]);
    const licenses = readFileSync(new URL("../../../dist/licenses.txt", import.meta.url), "utf8");
    expect(licenses).toContain(`\n${name} `);
  },
);
