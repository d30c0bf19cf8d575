import { describe, expect, test } from "vitest";
import { firstCookie, readCookie } from "../../../shared/net/cookies.ts";

describe("the value of a cookie", () => {
  test.each<[title: string, header: string | undefined, value: string | undefined]>([
    ["is read from among others", "a=b; name=value; c=d", "value"],
    ["is the first of several", "name=first; name=second", "first"],
    ["may be empty", "name=; name=second", ""],
    ["may contain equals signs", "name=a=b==", "a=b=="],
    ["has no blanks around it, like the name", " name \t= value ;a=b", "value"],
    ["is not that of a longer name", "names=1; my-name=2", undefined],
    ["is not that of a name in other letters", "Name=1", undefined],
    ["needs an equals sign", "name; name", undefined],
    ["is undefined in an empty header", "", undefined],
    ["is undefined without a header", undefined, undefined],
  ])("the value of a cookie %s", (_title, header, value) => {
    expect(readCookie(header, "name")).toBe(value);
  });

  test("the value of a cookie is the first one that is accepted", () => {
    const read = (value: string) => (value.length > 1 ? value.toUpperCase() : undefined);
    expect(firstCookie("k=a; k=bc; k=de", "k", read)).toBe("BC");
    expect(firstCookie("k=a; k=b", "k", read)).toBe(undefined);
  });
});
