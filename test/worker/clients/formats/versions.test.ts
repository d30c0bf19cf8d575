/** Comparison of versions, and compatibility with IDE builds. */
import { expect, test } from "vitest";
import { bundleOf, countsAsDownload } from "../../../../worker/clients/formats/p2.ts";
import {
  compareOsgiVersions,
  compareVersions,
  fitsBuild,
  isBuild,
} from "../../../../worker/clients/formats/versions.ts";

test("plugin versions are ordered by the value of numbers and the rank of words", () => {
  const ordered = [
    "0.9",
    "1.0-SNAPSHOT",
    "1.0-M1",
    "1.0-alpha",
    "1.0-alpha.2",
    "1.0-beta",
    "1.0-rc1",
    "1.0-rc2",
    "1.0",
    "1.0.1",
    "1.2",
    "1.9",
    "1.10",
    "2.0.0-beta.1",
    "2.0.0",
    "2024.1.10",
    "2024.10.1",
  ];
  for (let i = 0; i < ordered.length; i++) {
    for (let j = 0; j < ordered.length; j++) {
      const difference = compareVersions(ordered[i] ?? "", ordered[j] ?? "");
      expect([ordered[i], ordered[j], Math.sign(difference)]).toEqual([
        ordered[i],
        ordered[j],
        Math.sign(i - j),
      ]);
    }
  }
  expect(compareVersions("1.10", "1.9")).toBeGreaterThan(0);
  expect(compareVersions("1.0", "1.0-beta")).toBeGreaterThan(0);
  expect(compareVersions("1.0", "1.0.0")).toBe(0);
});

// Results of IntelliJ's VersionComparatorUtil for the same pairs.
test.each([
  ["1.2.3+build.5", "1.2.3", 1],
  ["1.2.3+build.5", "1.2.3+build.6", -1],
  ["1.2.3+build.10", "1.2.3+build.9", 1],
  ["1.2.3+5", "1.2.4", -1],
  ["1.2.3+0", "1.2.3", 0],
  ["1.0-foo", "1.0", 1],
  ["1.0-foo", "1.0-release", 1],
  ["1.0-foo", "1.0.1", -1],
  ["1.0-bar", "1.0-foo", -1],
  ["1.0-a", "1.0-ALPHA", 0],
  ["1.0-betta", "1.0-beta", 0],
  ["1.0rc1", "1.0release", -1],
  ["1.0-sp1", "1.0", 1],
  ["1.0-bundled", "9.0", -1],
  ["1.bundled", "1.5", 1],
  ["1.1", "1.02", 1],
  ["1.02", "1.01", 1],
  ["1.0_2", "1.0~3", -1],
  ["(1.0) 2", "1.0:2", 0],
  ["1.123456789012345678901", "1.123456789012345678902", -1],
  ["20200207-090000", "20200207-133700", -1],
  ["", "0", 0],
])("plugin version %s compares with %s as in the IDE: %i", (a, b, expected) => {
  expect(Math.sign(compareVersions(a, b))).toBe(expected);
  expect(Math.sign(compareVersions(b, a))).toBe(expected === 0 ? 0 : -expected);
});

test.each([
  ["IU-242.21829.142", "241", "242.*", true],
  ["242.21829.142", "242.21829.142", "242.21829.142", true],
  ["IC-243.1", "241", "242.*", false],
  ["IC-240.9999", "241", undefined, false],
  ["IC-999.1", "241", undefined, true],
  ["PY-242.1", undefined, "242.0.5", false],
  ["RD-242.SNAPSHOT", "242.100", "242.*", true],
  ["WS-251.5", undefined, undefined, true],
  ["IU-242.10", "242.9", "242.11", true],
])(
  "the compatibility with build %s of a plugin from %s until %s is %s",
  (build, sinceBuild, untilBuild, fits) => {
    expect(
      fitsBuild(build, {
        ...(sinceBuild !== undefined && { sinceBuild }),
        ...(untilBuild !== undefined && { untilBuild }),
      }),
    ).toBe(fits);
  },
);

test("an invalid build number is recognized", () => {
  expect(["", "IU-", "x", "IU-242.x", "../242", "242..1"].map(isBuild)).toEqual(
    Array(6).fill(false),
  );
});

test("Eclipse versions compare their qualifier as text", () => {
  expect(compareOsgiVersions("1.10.0", "1.9.9")).toBeGreaterThan(0);
  expect(compareOsgiVersions("1.0.0.v2030", "1.0.0.v2029")).toBeGreaterThan(0);
  expect(compareOsgiVersions("1.0.0", "1.0.0")).toBe(0);
});

test("the bundle is read from a path, and only some bundles count as a download", () => {
  expect(bundleOf("plugins/com.acme.core_1.2.3.v20300101-1200.jar")).toEqual({
    id: "com.acme.core",
    version: "1.2.3.v20300101-1200",
  });
  expect(bundleOf("releases/plugins/a_b_1.0.0.v1_2.jar")).toEqual({
    id: "a_b",
    version: "1.0.0.v1_2",
  });
  for (const path of ["content.jar", "features/a_1.0.0.jar", "plugins/a_1.0.0.jar.pack.gz"]) {
    expect(bundleOf(path)).toBeUndefined();
  }
  const bundles = ["a.core_1.0.0.jar", "a.ui_1.0.0.jar"];
  expect(["a.core", "a.ui"].map((id) => countsAsDownload(id, bundles))).toEqual([true, false]);
  expect(countsAsDownload("a.ui", ["a.ui_1.0.0.jar"])).toBe(true);
});
