/** The page's URL and what users enter to join. */
import { describe, expect, test } from "vitest";
import {
  invitationLink,
  readInvitation,
  readPlace,
  serverUrlWithKey,
} from "../../../worker/web/client/model/place.ts";

const ROOM = "aB3dE5fG7hJ9kL1mN3pQ5rS7";
const EDGE = "https://edge.example.com";

describe("the page's URL", () => {
  test.each([
    [`${EDGE}/`, EDGE, undefined],
    [`${EDGE}/#${ROOM}`, EDGE, ROOM],
    [`${EDGE}/?room=${ROOM}`, EDGE, ROOM],
    [`${EDGE}/join/${ROOM}`, EDGE, ROOM],
    [`${EDGE}//join//${ROOM}/`, EDGE, ROOM],
    [`${EDGE}/join`, EDGE, undefined],
    [`${EDGE}/k/KEY`, `${EDGE}/k/KEY`, undefined],
    [`${EDGE}/k/KEY/#${ROOM}`, `${EDGE}/k/KEY`, ROOM],
    [`${EDGE}/k/KEY/join/${ROOM}`, `${EDGE}/k/KEY`, ROOM],
    [`${EDGE}/base/join/${ROOM}?transport=polling`, `${EDGE}/base`, ROOM],
    ["http://[::1]:1080/?transport=websocket", "http://[::1]:1080", undefined],
  ])("the page's URL %s names the edge %s and the session %s", (href, baseUrl, roomId) => {
    expect(readPlace(href)).toEqual({ baseUrl, roomId });
  });

  test.each(["#<img src=x>", "?room=a;b", "join/..", "#__proto__", `#${"x".repeat(65)}`])(
    "the page's URL with %s names no session",
    (rest) => {
      expect(readPlace(`${EDGE}/${rest}`).roomId).toBeUndefined();
    },
  );
});

describe("what a user enters to join", () => {
  test.each([
    ROOM,
    `  ${ROOM}\n`,
    `${EDGE}/#${ROOM}`,
    `${EDGE}/join/${ROOM}`,
    `edge.example.com/#${ROOM}`,
    `http://edge.example.com/#${ROOM}`,
    `${EDGE}/k/KEY/?room=${ROOM}`,
  ])("%s is a session of this edge", (text) => {
    expect(readInvitation(text, EDGE)).toEqual({ outcome: "here", roomId: ROOM });
  });

  test("a link of another edge leads there", () => {
    expect(readInvitation(`https://other.example.com/#${ROOM}`, EDGE)).toEqual({
      outcome: "elsewhere",
      url: `https://other.example.com/#${ROOM}`,
      host: "other.example.com",
    });
  });

  test.each([
    "",
    "hello world",
    EDGE,
    `javascript:alert(1)//#${ROOM}`,
    `vscode://x/#${ROOM}`,
    `https://user@/#${ROOM}`,
  ])("%s is no invitation to a session", (text) => {
    expect(readInvitation(text, EDGE)).toEqual({ outcome: "invalid" });
  });
});

test("the invitation of an edge with a path keeps the path", () => {
  const link = invitationLink(`${EDGE}/k/KEY`, ROOM);
  expect(link).toBe(`${EDGE}/k/KEY/#${ROOM}`);
  expect(readPlace(link)).toEqual({ baseUrl: `${EDGE}/k/KEY`, roomId: ROOM });
});

test.each([
  ["http://edge:1080", "http://edge:1080", "http://edge:1080"],
  ["http://edge:1080", "http://edge:1080/k/a%20key", "http://edge:1080/k/a%20key"],
  ["https://e.example/base", "https://e.example/base/k/KEY", "https://e.example/base/k/KEY"],
  // A proxy in front adds or strips the path.
  ["https://e.example/base", "http://10.0.0.1/k/KEY", "https://e.example/base/k/KEY"],
  ["https://e.example/base", "https://e.example/baseless", "https://e.example/base/baseless"],
])("the server URL %s of a page at %s is shown as %s", (serverUrl, baseUrl, shown) => {
  expect(serverUrlWithKey(serverUrl, baseUrl)).toBe(shown);
});
