import { expect, test } from "vitest";
import { ideCopies, ideLinks } from "../../../worker/web/client/model/ide-links.ts";
import { invitationLink } from "../../../worker/web/client/model/place.ts";

const SERVER_URL = "https://edge.example.com:8443/k/team-blue";
const ROOM = "vXw4Hf9gTQ2LrK8s";
const INVITATION = invitationLink(SERVER_URL, ROOM);

test("each link has the product's scheme and the whole invitation, which the extension reads back", () => {
  const links = ideLinks(INVITATION).map(({ href }) => new URL(href));
  expect(links.map(({ protocol }) => protocol)).toEqual([
    "vscode:",
    "vscode-insiders:",
    "vscodium:",
    "cursor:",
    "windsurf:",
  ]);
  for (const link of links) {
    expect([link.host, link.pathname]).toEqual(["typefox.open-collaboration-tools", "/join"]);
    expect(link.searchParams.get("room")).toBe(INVITATION);
    expect(link.hash).toBe("");
    // VS Code decodes the query before the extension does so again.
    const decoded = decodeURIComponent(link.search.slice(1));
    expect(new URLSearchParams(decoded).get("room")).toBe(INVITATION);
  }
  expect(links[0]?.href).toBe(
    "vscode://typefox.open-collaboration-tools/join?room=https%3A%2F%2Fedge.example.com%3A8443%2Fk%2Fteam-blue%2F%23vXw4Hf9gTQ2LrK8s",
  );
});

test("IDEs that read only the session's code get the code, and the server's URL to set", () => {
  const copies = ideCopies({ invitation: INVITATION, roomId: ROOM, serverUrl: SERVER_URL });
  expect(copies.map(({ text }) => text)).toEqual([INVITATION, ROOM, ROOM]);
  for (const { note } of copies.slice(1)) expect(note).toContain(SERVER_URL);
});
