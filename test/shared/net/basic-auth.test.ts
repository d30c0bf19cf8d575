import { expect, test } from "vitest";
import { claimedUser, readBasic } from "../../../shared/net/basic-auth.ts";

function read(text: string, colonsInUser?: number): string[] | undefined {
  const found = readBasic(`Basic ${Buffer.from(text).toString("base64")}`, colonsInUser);
  return found && [found.user.toString(), found.password.toString()];
}

test("the first colon of Basic credentials ends the user name", () => {
  expect(read("ada:secret:word")).toEqual(["ada", "secret:word"]);
  expect(read("ada:")).toEqual(["ada", ""]);
  expect(read(":secret")).toEqual(["", "secret"]);
  expect(read("adä:ß")).toEqual(["adä", "ß"]);
});

test("a user name with colons is read when it is known how many there are", () => {
  expect(read("a:b:secret", 1)).toEqual(["a:b", "secret"]);
  expect(read("a:b", 2)).toBe(undefined);
});

test.each(["", "Basic", "Basic ", "Basic !!!", "Bearer YTpi", "Basic YTpi extra", "Basic YWRh"])(
  "%j has no Basic credentials",
  (authorization) => {
    expect(readBasic(authorization)).toBe(undefined);
  },
);

test("the scheme of Basic credentials may have letters of either case", () => {
  expect(readBasic("bASIC   YTpi ")?.user.toString()).toBe("a");
});

test("a log names the user of malformed Basic credentials as far as they can be decoded", () => {
  expect(claimedUser("Basic YWRhOnNlYpoch: 7")).toBe("ada");
  expect(claimedUser("Basic YWRh")).toBe("");
  expect(claimedUser("Bearer YTpi")).toBe("");
});
